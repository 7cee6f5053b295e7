/** Objects behind descriptors: ids, info, names, tags, pins, and how long they live. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../src/asm/index.ts';
import {
  exists,
  expectCode,
  fromU32,
  idOf,
  load,
  makeMap,
  type OpenSubject,
  ProgramBuilder,
  progType,
  R0,
  R1,
  returns,
  run,
  type Subject,
  type SubjectKernel,
  tailCall,
  u32,
  uses,
} from './subject.ts';

export function objectContract(open: OpenSubject): void {
  let subject: Subject;
  let kernel: SubjectKernel;
  const pin = (name: string) => `${subject.bpffs}/${name}`;
  /** The object is gone, now or soon. */
  const gone = (kind: 'map' | 'prog', id: number) =>
    subject.eventually(() => expect(exists(kernel, kind, id)).toBe(false));

  beforeEach(() => {
    subject = open();
    kernel = subject.kernel;
  });
  afterEach(() => subject.done());

  describe('ids', () => {
    it('rise and can be walked', () => {
      const ids = [makeMap(kernel, 'array'), makeMap(kernel, 'hash')].map((fd) => idOf(kernel, fd));
      expect(ids[1]).toBeGreaterThan(ids[0]);
      expect(kernel.objGetNextId({ kind: 'map', startId: ids[0] - 1 })).toBe(ids[0]);
      const walked: number[] = [];
      for (let id = kernel.objGetNextId({ kind: 'map', startId: 0 }); id !== null; ) {
        walked.push(id);
        id = kernel.objGetNextId({ kind: 'map', startId: id });
      }
      expect(walked).toEqual([...walked].sort((a, b) => a - b));
      for (const id of ids) expect(walked).toContain(id);
      expect(kernel.objGetNextId({ kind: 'map', startId: walked.at(-1)! })).toBeNull();
      expectCode('EINVAL', () => kernel.objGetNextId({ kind: 'map', startId: 0x7fff_ffff }));
    });

    it('open the same object again', () => {
      const mapFd = makeMap(kernel, 'array');
      const id = idOf(kernel, mapFd);
      const again = kernel.objGetFdById({ kind: 'map', id });
      kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(9) });
      kernel.close(mapFd);
      expect(kernel.mapLookupElem({ mapFd: again, key: u32(0) })).toEqual(u32(9));
      kernel.close(again);
      gone('map', id);
      expectCode('ENOENT', () => kernel.objGetFdById({ kind: 'map', id }));
      expectCode('ENOENT', () => kernel.objGetFdById({ kind: 'prog', id: 0x7000_0000 }));
      expectCode('EINVAL', () => kernel.objGetFdById({ kind: 'prog', id, openFlags: 8 }));
    });
  });

  describe('program info', () => {
    it('says type, name, maps, licence and verified instructions', () => {
      const map = makeMap(kernel, 'array');
      const fd = load(kernel, uses(map), 'xdp', { progName: 'a_name', license: 'Dual MIT/GPL' });
      expect(kernel.objGetInfoByFd({ bpfFd: fd })).toMatchObject({
        kind: 'prog',
        type: progType('xdp'),
        name: 'a_name',
        mapIds: [idOf(kernel, map)],
        gplCompatible: true,
        createdByUid: 0,
        btfId: 0,
        verifiedInsns: 3,
      });
      const other = load(kernel, returns(0), 'xdp', { license: 'Proprietary' });
      expect(kernel.objGetInfoByFd({ bpfFd: other })).toMatchObject({ gplCompatible: false, mapIds: [] });
    });

    it('tags the instructions with SHA-256, map descriptors blanked', () => {
      const program = returns(3);
      const bytes = encodeProgram(program.build());
      const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
      expect(kernel.objGetInfoByFd({ bpfFd: load(kernel, program) })).toMatchObject({ tag });
      // The same program over two maps has one tag.
      const tags = ['hash', 'array'].map((type) => {
        const info = kernel.objGetInfoByFd({ bpfFd: load(kernel, uses(makeMap(kernel, type))) });
        return info.kind === 'prog' ? info.tag : '';
      });
      expect(tags[0]).toBe(tags[1]);
    });

    it('tags loads of map values without their descriptor', () => {
      const map = makeMap(kernel, 'array', { maxEntries: 1 });
      const program = new ProgramBuilder().ldMapValue(R1, map, 2).mov64(R0, 0).exit();
      const blank = encodeProgram(program.build());
      // bpf_prog_calc_tag: the descriptor and the offset into the value are not hashed.
      blank.fill(0, 4, 8);
      blank.fill(0, 12, 16);
      const tag = createHash('sha256').update(blank).digest('hex').slice(0, 16);
      expect(kernel.objGetInfoByFd({ bpfFd: load(kernel, program) })).toMatchObject({ tag });
    });
  });

  describe('BTF', () => {
    /** One int of 4 bytes (id 1) and one of 8 (id 2). */
    const btf = (change: Readonly<Record<number, number>> = {}): Uint8Array => {
      const words = [0x1_eb9f, 24, 0, 32, 32, 5, 1, 1 << 24, 4, 0x0100_0020, 1, 1 << 24, 8, 0x0100_0040];
      const bytes = new Uint8Array(4 * words.length + 5);
      const view = new DataView(bytes.buffer);
      words.forEach((word, i) => {
        view.setUint32(4 * i, change[i] ?? word, true);
      });
      bytes.set([0, 105, 110, 116, 0], 4 * words.length);
      return bytes;
    };

    it('is loaded and checked', () => {
      const fd = kernel.btfLoad({ btf: btf() });
      const id = idOf(kernel, fd);
      expect(exists(kernel, 'btf', id)).toBe(true);
      kernel.close(fd);
      subject.eventually(() => expect(exists(kernel, 'btf', id)).toBe(false));
      expectCode('EINVAL', () => kernel.btfLoad({ btf: btf({ 0: 0x1_eb9e }) }));
      expectCode('ENOTSUPP', () => kernel.btfLoad({ btf: btf({ 0: 0x2_eb9f }) }));
      expectCode('EINVAL', () => kernel.btfLoad({ btf: btf({ 3: 3200 }) }));
      expectCode('EINVAL', () => kernel.btfLoad({ btf: btf({ 6: 99 }) }));
      expectCode('EINVAL', () => kernel.btfLoad({ btf: new Uint8Array(8) }));
    });

    it('says the types of a map', () => {
      const btfFd = kernel.btfLoad({ btf: btf() });
      const types = { btfFd, btfKeyTypeId: 1, btfValueTypeId: 2 };
      const map = makeMap(kernel, 'hash', { valueSize: 8, ...types });
      const btfId = idOf(kernel, btfFd);
      expect(kernel.objGetInfoByFd({ bpfFd: map })).toMatchObject({
        btfId,
        btfKeyTypeId: 1,
        btfValueTypeId: 2,
      });
      kernel.close(btfFd);
      // The map holds its types.
      expect(exists(kernel, 'btf', btfId)).toBe(true);
      kernel.close(map);
      subject.eventually(() => expect(exists(kernel, 'btf', btfId)).toBe(false));
    });

    it('has to fit the map', () => {
      const btfFd = kernel.btfLoad({ btf: btf() });
      const make = (type: string, attr: object) => () =>
        makeMap(kernel, type, { valueSize: 8, btfFd, btfKeyTypeId: 1, btfValueTypeId: 2, ...attr });
      expectCode('EINVAL', make('hash', { valueSize: 4 }));
      expectCode('EINVAL', make('hash', { keySize: 8 }));
      expectCode('EINVAL', make('hash', { btfValueTypeId: 0 }));
      expectCode('EINVAL', make('hash', { btfValueTypeId: 77 }));
      expectCode('EBADF', make('hash', { btfFd: 9999 }));
      expectCode('EINVAL', make('hash', { btfFd: makeMap(kernel, 'array') }));
      expectCode('ENOTSUPP', make('perf_event_array', { valueSize: 4, btfValueTypeId: 1 }));
      expectCode('EINVAL', make('array', { btfKeyTypeId: 2 }));
    });
  });

  describe('PROG_LOAD', () => {
    it('refuses bad attributes', () => {
      expectCode('E2BIG', () => kernel.progLoad({ progType: 1, insns: new Uint8Array(), license: 'GPL' }));
      expectCode('EINVAL', () => load(kernel, returns(0), 'xdp', { progType: 999 }));
      expectCode('EINVAL', () => load(kernel, returns(0), 'xdp', { progType: 0 }));
      expectCode('EINVAL', () => load(kernel, returns(0), 'xdp', { progName: 'no spaces' }));
      expectCode('EINVAL', () => load(kernel, returns(0), 'xdp', { progFlags: 1 << 20 }));
      expectCode('EINVAL', () => load(kernel, returns(0), 'cgroup_skb', { expectedAttachType: 37 }));
      const badBtf = { progBtfFd: 9999, funcInfo: new Uint8Array(8) };
      expectCode('EBADF', () => load(kernel, returns(0), 'socket_filter', badBtf));
      // Without function or line info nobody looks at the descriptor.
      expectCode('ok', () => load(kernel, returns(0), 'socket_filter', { progBtfFd: 9999 }));
      expectCode('EBADF', () => load(kernel, uses(9999)));
    });

    it('refuses what does not verify, and nothing stays behind', () => {
      const before: (number | null)[] = [];
      for (let id = kernel.objGetNextId({ kind: 'prog', startId: 0 }); id !== null; ) {
        before.push(id);
        id = kernel.objGetNextId({ kind: 'prog', startId: id });
      }
      expectCode('EINVAL', () => load(kernel, new ProgramBuilder().mov64(R0, 0)));
      expectCode('EACCES', () => load(kernel, new ProgramBuilder().ldx('dw', R0, R0, 0).exit()));
      const last = before.at(-1) ?? 0;
      expect(kernel.objGetNextId({ kind: 'prog', startId: last! })).toBeNull();
    });
  });

  describe('life', () => {
    it('of a map ends with its last descriptor', () => {
      const fd = makeMap(kernel, 'array');
      const id = idOf(kernel, fd);
      expect(exists(kernel, 'map', id)).toBe(true);
      kernel.close(fd);
      gone('map', id);
    });

    it('of a map lasts as long as a program uses it', () => {
      const map = makeMap(kernel, 'array');
      const id = idOf(kernel, map);
      const program = load(kernel, uses(map));
      kernel.close(map);
      expect(exists(kernel, 'map', id)).toBe(true);
      kernel.close(program);
      gone('map', id);
    });

    it('of a map lasts as long as a program is bound to it', () => {
      const map = makeMap(kernel, 'array');
      const id = idOf(kernel, map);
      const program = load(kernel, returns(0));
      kernel.progBindMap({ progFd: program, mapFd: map });
      kernel.progBindMap({ progFd: program, mapFd: map });
      expect(kernel.objGetInfoByFd({ bpfFd: program })).toMatchObject({ mapIds: [id] });
      expectCode('EINVAL', () => kernel.progBindMap({ progFd: program, mapFd: map, flags: 1 }));
      expectCode('EINVAL', () => kernel.progBindMap({ progFd: map, mapFd: map }));
      expectCode('EBADF', () => kernel.progBindMap({ progFd: program, mapFd: 9999 }));
      kernel.close(map);
      expect(exists(kernel, 'map', id)).toBe(true);
      kernel.close(program);
      gone('map', id);
    });

    it('of an inner map lasts as long as its slot', () => {
      const template = makeMap(kernel, 'hash');
      for (const outer of [
        makeMap(kernel, 'array_of_maps', { innerMapFd: template }),
        makeMap(kernel, 'hash_of_maps', { innerMapFd: template }),
      ]) {
        const inner = makeMap(kernel, 'hash');
        const id = idOf(kernel, inner);
        kernel.mapUpdateElem({ mapFd: outer, key: u32(1), value: u32(inner) });
        kernel.close(inner);
        expect(fromU32(kernel.mapLookupElem({ mapFd: outer, key: u32(1) }))).toBe(id);
        expect(exists(kernel, 'map', id)).toBe(true);
        kernel.mapDeleteElem({ mapFd: outer, key: u32(1) });
        gone('map', id);
        const second = makeMap(kernel, 'hash');
        const secondId = idOf(kernel, second);
        kernel.mapUpdateElem({ mapFd: outer, key: u32(0), value: u32(second) });
        kernel.close(second);
        kernel.close(outer);
        gone('map', secondId);
      }
      // The template is not held by the outer map.
      const id = idOf(kernel, template);
      const outer = makeMap(kernel, 'array_of_maps', { innerMapFd: template });
      expectCode('EINVAL', () => {
        const other = makeMap(kernel, 'hash', { valueSize: 16 });
        kernel.mapUpdateElem({ mapFd: outer, key: u32(0), value: u32(other) });
      });
      kernel.close(template);
      gone('map', id);
    });

    it('of a program lasts as long as its slot in a program array', () => {
      const array = makeMap(kernel, 'prog_array');
      const program = load(kernel, returns(7));
      const id = idOf(kernel, program);
      kernel.mapUpdateElem({ mapFd: array, key: u32(1), value: u32(program) });
      kernel.close(program);
      expect(fromU32(kernel.mapLookupElem({ mapFd: array, key: u32(1) }))).toBe(id);
      expect(run(kernel, load(kernel, tailCall(array, 1, 3)))).toBe(7);
      expect(run(kernel, load(kernel, tailCall(array, 0, 3)))).toBe(3);
      expect(run(kernel, load(kernel, tailCall(array, 99, 4)))).toBe(4);
      kernel.mapDeleteElem({ mapFd: array, key: u32(1) });
      expectCode('ENOENT', () => kernel.mapDeleteElem({ mapFd: array, key: u32(1) }));
      gone('prog', id);
    });

    it('of a program array and a program in it that uses it ends together', () => {
      const array = makeMap(kernel, 'prog_array');
      const program = load(kernel, tailCall(array, 0, 3));
      const ids = [idOf(kernel, array), idOf(kernel, program)];
      kernel.mapUpdateElem({ mapFd: array, key: u32(0), value: u32(program) });
      // 33 tail calls, then it falls through.
      expect(run(kernel, program)).toBe(3);
      kernel.close(program);
      expect(exists(kernel, 'prog', ids[1])).toBe(true);
      kernel.close(array);
      gone('prog', ids[1]);
      gone('map', ids[0]);
    });

    it('of the contents of a program array ends with its last user reference, though programs use it', () => {
      const array = makeMap(kernel, 'prog_array');
      const target = load(kernel, returns(7));
      const caller = load(kernel, tailCall(array, 0, 3));
      kernel.mapUpdateElem({ mapFd: array, key: u32(0), value: u32(target) });
      expect(run(kernel, caller)).toBe(7);
      kernel.close(array);
      subject.eventually(() => expect(run(kernel, caller)).toBe(3));
    });
  });

  describe('a program array', () => {
    it('holds programs of one type', () => {
      const array = makeMap(kernel, 'prog_array');
      const program = load(kernel, returns(0));
      kernel.mapUpdateElem({ mapFd: array, key: u32(0), value: u32(program) });
      expectCode('EINVAL', () =>
        kernel.mapUpdateElem({ mapFd: array, key: u32(1), value: u32(load(kernel, returns(2), 'xdp')) }),
      );
      expectCode('EINVAL', () => load(kernel, tailCall(array, 0, 0), 'xdp'));
      expectCode('EINVAL', () => kernel.mapUpdateElem({ mapFd: array, key: u32(1), value: u32(array) }));
      expectCode('EBADF', () => kernel.mapUpdateElem({ mapFd: array, key: u32(1), value: u32(9999) }));
      expectCode('E2BIG', () => kernel.mapUpdateElem({ mapFd: array, key: u32(4), value: u32(program) }));
      expectCode('EINVAL', () =>
        kernel.mapUpdateElem({ mapFd: array, key: u32(0), value: u32(program), flags: 1 }),
      );
    });
  });

  describe('pins', () => {
    it('keep what they name alive', () => {
      const fd = makeMap(kernel, 'array');
      const id = idOf(kernel, fd);
      kernel.objPin({ pathname: pin('map'), bpfFd: fd });
      kernel.close(fd);
      expect(exists(kernel, 'map', id)).toBe(true);
      const again = kernel.objGet({ pathname: pin('map') });
      expect(idOf(kernel, again)).toBe(id);
      // Unlinked while open: the descriptor holds it.
      kernel.unlink(pin('map'));
      expectCode('ENOENT', () => kernel.objGet({ pathname: pin('map') }));
      expect(kernel.mapLookupElem({ mapFd: again, key: u32(0) })).toEqual(u32(0));
      kernel.close(again);
      gone('map', id);
    });

    it('of programs and links', () => {
      const program = load(kernel, returns(1), 'xdp');
      kernel.objPin({ pathname: pin('prog'), bpfFd: program });
      kernel.close(program);
      const again = kernel.objGet({ pathname: pin('prog') });
      const link = kernel.linkCreate({ progFd: again, targetIfindex: subject.ifindex, attachType: 37 });
      kernel.objPin({ pathname: pin('link'), bpfFd: link });
      kernel.close(link);
      // The link is still attached: nobody else gets the interface.
      expectCode('EBUSY', () =>
        kernel.linkCreate({ progFd: again, targetIfindex: subject.ifindex, attachType: 37 }),
      );
      kernel.unlink(pin('link'));
      subject.eventually(() =>
        kernel.close(kernel.linkCreate({ progFd: again, targetIfindex: subject.ifindex, attachType: 37 })),
      );
      kernel.unlink(pin('prog'));
    });

    it('have names that are free, below a bpffs, without dots', () => {
      const fd = makeMap(kernel, 'array');
      kernel.objPin({ pathname: pin('one'), bpfFd: fd });
      expectCode('EEXIST', () => kernel.objPin({ pathname: pin('one'), bpfFd: fd }));
      expectCode('EPERM', () => kernel.objPin({ pathname: pin('a.b'), bpfFd: fd }));
      expectCode('ENOENT', () => kernel.objPin({ pathname: pin('none/x'), bpfFd: fd }));
      expectCode('ENOTDIR', () => kernel.objPin({ pathname: pin('one/x'), bpfFd: fd }));
      expectCode('EEXIST', () => kernel.objPin({ pathname: subject.bpffs, bpfFd: fd }));
      expectCode('ENAMETOOLONG', () => kernel.objPin({ pathname: pin('x'.repeat(300)), bpfFd: fd }));
      expectCode('EPERM', () => kernel.objPin({ pathname: '/tmp/tsbpf-not-a-bpffs', bpfFd: fd }));
      expectCode('EINVAL', () => kernel.objPin({ pathname: pin('x'), bpfFd: 9999 }));
      expectCode('ENOENT', () => kernel.objGet({ pathname: pin('none') }));
      expectCode('EACCES', () => kernel.objGet({ pathname: subject.bpffs }));
      expectCode('EINVAL', () => kernel.objGet({ pathname: pin('one'), fileFlags: 1 << 20 }));
      kernel.unlink(pin('one'));
    });

    it('in directories', () => {
      const fd = makeMap(kernel, 'array');
      kernel.mkdir(pin('d'));
      expectCode('EEXIST', () => kernel.mkdir(pin('d')));
      kernel.mkdir(pin('d/e'));
      kernel.objPin({ pathname: pin('d/map'), bpfFd: fd });
      expect([...kernel.readdir(pin('d'))].sort()).toEqual(['e', 'map']);
      expectCode('ENOTEMPTY', () => kernel.unlink(pin('d')));
      expectCode('ENOTDIR', () => kernel.readdir(pin('d/map')));
      kernel.unlink(pin('d/map'));
      kernel.unlink(pin('d/e'));
      kernel.unlink(pin('d'));
      expectCode('ENOENT', () => kernel.unlink(pin('d')));
      expectCode('ENOENT', () => kernel.readdir(pin('d')));
    });

    it('with several names', () => {
      const fd = makeMap(kernel, 'array');
      const id = idOf(kernel, fd);
      kernel.objPin({ pathname: pin('first'), bpfFd: fd });
      kernel.close(fd);
      subject.link(pin('first'), pin('second'));
      subject.symlink('second', pin('third'));
      subject.symlink('nowhere', pin('broken'));
      subject.symlink('loop', pin('loop'));
      expect(idOf(kernel, kernel.objGet({ pathname: pin('third') }))).toBe(id);
      expectCode('ENOENT', () => kernel.objGet({ pathname: pin('broken') }));
      expectCode('ELOOP', () => kernel.objGet({ pathname: pin('loop') }));
      expectCode('EEXIST', () => subject.link(pin('first'), pin('second')));
      kernel.unlink(pin('first'));
      expect(idOf(kernel, kernel.objGet({ pathname: pin('second') }))).toBe(id);
      kernel.unlink(pin('second'));
      expectCode('ENOENT', () => kernel.objGet({ pathname: pin('third') }));
    });

    it('opened with fewer rights', () => {
      const fd = makeMap(kernel, 'array');
      kernel.objPin({ pathname: pin('ro'), bpfFd: fd });
      const readOnly = kernel.objGet({ pathname: pin('ro'), fileFlags: 8 });
      expectCode('EPERM', () => kernel.mapUpdateElem({ mapFd: readOnly, key: u32(0), value: u32(1) }));
      expect(kernel.mapLookupElem({ mapFd: readOnly, key: u32(0) })).toEqual(u32(0));
      const program = load(kernel, returns(0));
      kernel.objPin({ pathname: pin('prog'), bpfFd: program });
      // Programs have no rights to be taken away.
      expectCode('ok', () => kernel.objGet({ pathname: pin('prog'), fileFlags: 8 }));
    });
  });
}
