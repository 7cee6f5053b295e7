/** Links of the `Kernel` contract: XDP with replacement, raw tracepoints, sockets. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  exists,
  expectCode,
  idOf,
  load,
  makeMap,
  type OpenSubject,
  progType,
  returns,
  type Subject,
  type SubjectKernel,
} from './subject.ts';

const XDP = 37;
const REPLACE = 4;

export function linkContract(open: OpenSubject): void {
  let subject: Subject;
  let kernel: SubjectKernel;
  beforeEach(() => {
    subject = open();
    kernel = subject.kernel;
  });
  afterEach(() => subject.done());

  describe('XDP links', () => {
    const attach = (progFd: number) =>
      kernel.linkCreate({ progFd, targetIfindex: subject.ifindex, attachType: XDP });

    it('are one a device, and end with their last reference', () => {
      const program = load(kernel, returns(2), 'xdp');
      const link = attach(program);
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
        kind: 'link',
        type: 6,
        progId: idOf(kernel, program),
      });
      expectCode('EBUSY', () => attach(program));
      kernel.close(link);
      subject.eventually(() => kernel.close(attach(program)));
    });

    it('hold their program', () => {
      const program = load(kernel, returns(2), 'xdp');
      const id = idOf(kernel, program);
      const link = attach(program);
      kernel.close(program);
      expect(exists(kernel, 'prog', id)).toBe(true);
      kernel.close(link);
      subject.eventually(() => expect(exists(kernel, 'prog', id)).toBe(false));
    });

    it('change their program in place', () => {
      const [first, second, third] = [1, 2, 3].map((value) => load(kernel, returns(value), 'xdp'));
      const link = attach(first);
      kernel.linkUpdate({ linkFd: link, newProgFd: second });
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({ progId: idOf(kernel, second) });
      expectCode('EPERM', () =>
        kernel.linkUpdate({ linkFd: link, newProgFd: third, oldProgFd: first, flags: REPLACE }),
      );
      kernel.linkUpdate({ linkFd: link, newProgFd: third, oldProgFd: second, flags: REPLACE });
      kernel.linkUpdate({ linkFd: link, newProgFd: third });
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({ progId: idOf(kernel, third) });
      expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: link, newProgFd: first, oldProgFd: third }));
      expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: link, newProgFd: first, flags: 64 }));
      expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: link, newProgFd: load(kernel, returns(0)) }));
      expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: first, newProgFd: first }));
      expectCode('EBADF', () => kernel.linkUpdate({ linkFd: link, newProgFd: 9999 }));
      kernel.close(link);
    });

    it('are detached by force', () => {
      const program = load(kernel, returns(2), 'xdp');
      const link = attach(program);
      kernel.linkDetach({ linkFd: link });
      kernel.close(attach(program));
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({ progId: idOf(kernel, program) });
      expectCode('ENOLINK', () => kernel.linkUpdate({ linkFd: link, newProgFd: program }));
      kernel.linkDetach({ linkFd: link });
      kernel.close(link);
      expectCode('EBADF', () => kernel.linkDetach({ linkFd: link }));
    });

    it('refuse what does not fit', () => {
      const program = load(kernel, returns(2), 'xdp');
      expectCode('EINVAL', () =>
        kernel.linkCreate({ progFd: program, targetIfindex: 99_999, attachType: XDP }),
      );
      expectCode('EINVAL', () =>
        kernel.linkCreate({ progFd: program, targetIfindex: subject.ifindex, attachType: 41 }),
      );
      expectCode('EINVAL', () =>
        kernel.linkCreate({ progFd: program, targetIfindex: subject.ifindex, attachType: 999 }),
      );
      expectCode('EBADF', () =>
        kernel.linkCreate({ progFd: 9999, targetIfindex: subject.ifindex, attachType: XDP }),
      );
      const filter = load(kernel, returns(2), 'socket_filter');
      expectCode('EINVAL', () =>
        kernel.linkCreate({ progFd: filter, targetIfindex: subject.ifindex, attachType: XDP }),
      );
      expectCode('EINVAL', () =>
        kernel.linkCreate({
          progFd: makeMap(kernel, 'array'),
          targetIfindex: subject.ifindex,
          attachType: XDP,
        }),
      );
      expectCode('EINVAL', () =>
        kernel.linkCreate({
          progFd: program,
          targetIfindex: subject.ifindex,
          attachType: XDP,
          flags: 1 << 30,
        }),
      );
    });
  });

  describe('raw tracepoints', () => {
    it('are opened by name', () => {
      const program = load(kernel, returns(0), 'raw_tracepoint');
      // A tracepoint that nobody fires while the test runs.
      const link = kernel.rawTracepointOpen({ name: 'task_rename', progFd: program });
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
        kind: 'link',
        type: 1,
        progId: idOf(kernel, program),
      });
      expectCode('EINVAL', () => kernel.linkUpdate({ linkFd: link, newProgFd: program }));
      expectCode('EOPNOTSUPP', () => kernel.linkDetach({ linkFd: link }));
      kernel.close(link);
    });

    it('refuse what does not fit', () => {
      const program = load(kernel, returns(0), 'raw_tracepoint');
      if (subject.knowsTracepoints)
        expectCode('ENOENT', () => kernel.rawTracepointOpen({ name: 'there_is_no_such', progFd: program }));
      expectCode('EINVAL', () =>
        kernel.rawTracepointOpen({ name: 'task_rename', progFd: load(kernel, returns(0), 'xdp') }),
      );
      expectCode('EBADF', () => kernel.rawTracepointOpen({ name: 'task_rename', progFd: 9999 }));
    });
  });

  it('socket filters are attached to sockets', () => {
    const filter = load(kernel, returns(0));
    const socket = kernel.socketAttach({ socketFd: null, progFd: filter });
    const id = idOf(kernel, filter);
    kernel.close(filter);
    expect(exists(kernel, 'prog', id)).toBe(true);
    kernel.close(socket);
    subject.eventually(() => expect(exists(kernel, 'prog', id)).toBe(false));
    expectCode('EINVAL', () =>
      kernel.socketAttach({ socketFd: null, progFd: load(kernel, returns(2), 'xdp') }),
    );
    expect(progType('socket_filter')).toBe(1);
  });
}
