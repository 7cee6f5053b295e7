// Places of RUN_STATE (src/memory/layout.ts) of the CPU that runs.

const CPU_AT: usize = 0x10014;

// How far the run state of this thread's CPU lies from its fixed place; only where the memory is shared.
@external("env", "cpu_delta")
declare const CPU_DELTA: i32;

@inline
export function CPU_DELTA_AT(): usize {
  return ASC_FEATURE_THREADS ? <usize>CPU_DELTA : 0;
}

@inline
export function currentCpu(): u32 {
  return load<u32>(CPU_AT + CPU_DELTA_AT());
}
