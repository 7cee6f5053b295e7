/** Shape of the generated struct layouts: offsets and sizes in bytes, as x86-64 Linux lays the struct out. */
export interface UapiField {
  /** Members of a nested anonymous struct type read `outer.inner`; anonymous members are inlined. */
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  /** Bit-fields: position of the lowest bit in the unit of `size` bytes at `offset`, and width. */
  readonly bit?: number;
  readonly bits?: number;
}

export interface UapiLayout {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly UapiField[];
}
