// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Jobs that something goes wrong with, on request of the model: what user space sees of it, and that
//! the GPU works for others then. Tiler heaps that have no room.

use e2e::job::{instr::*, Bench, Syncobj, OUT};
use e2e::model::Model;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Limit of each wait. Nothing is said about how long it takes.
const LIMIT: Duration = Duration::from_secs(50);

/// States of a group.
const TIMED_OUT: u32 = 1;
const FATAL: u32 = 2;

fn open() -> Res<(Dev, Model)> {
    // It has firmware, but no groups yet.
    if ktap::driver() == ktap::Driver::Rust {
        skip!("the driver runs no jobs");
    }
    let mut model = Model::need()?;
    model.ask("inject clear")?;
    Ok((ok!(Dev::open()), model))
}

/// A stream that stores a number at a word of the results.
fn store(word: u64, value: u32) -> Vec<u64> {
    vec![
        mov48(4, OUT + 4 * word),
        mov32(6, value),
        store32(4, 6, 0),
        wait(0xff),
    ]
}

/// A branch to itself.
fn for_ever() -> Vec<u64> {
    vec![mov32(20, 1), branch_nonzero(20, -1)]
}

/// Waits for the end of a job; 0 if it went well, or its error.
fn status(dev: &Dev, done: &Syncobj<'_>) -> Res<i32> {
    ok!(done.wait(LIMIT));
    // DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, as a sync file.
    let mut handle = [u64::from(done.handle) | (1 << 32), u64::from(u32::MAX), 0];
    // SAFETY: 16 bytes, or 24 of later kernels: handle, flags, descriptor.
    let n = unsafe { libc::ioctl(dev.fd(), iowr(0xc1, 16) as _, handle.as_mut_ptr()) };
    ok!(sys::cvt(n.into()));
    // SAFETY: it was made just now.
    let file = unsafe { OwnedFd::from_raw_fd(handle[1] as i32) };
    // SYNC_IOC_FILE_INFO: a name of 32 bytes, status, flags, number of fences, their address.
    let mut info = [0_i32; 14];
    let request: u64 = (3 << 30) | (56 << 16) | (0x3e << 8) | 4;
    // SAFETY: 56 bytes.
    let n = unsafe { libc::ioctl(file.as_raw_fd(), request as _, info.as_mut_ptr()) };
    ok!(sys::cvt(n.into()));
    Ok(match info[8] {
        1 => 0,
        status => status,
    })
}

/// Another group does its work.
fn others_work(dev: &Dev) -> Res {
    let mut bench = ok!(Bench::new(dev, 1));
    let done = ok!(bench.submit(0, &store(5, 0x77)));
    eq!(status(dev, &done)?, 0);
    eq!(bench.result(5), 0x77);
    Ok(())
}

/// The same after a reset, or in the middle of one, which may refuse a call, or end a group that did
/// nothing wrong: soon.
fn others_work_again(dev: &Dev) -> Res {
    for _ in 0..10 {
        match others_work(dev) {
            Err(Fail::Fail(why)) => note!("not yet: {why}"),
            done => return done,
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    others_work(dev)
}

fn refuses_jobs(bench: &mut Bench<'_>) -> Res {
    err!(bench.submit(0, &store(0, 1)).map(drop), sys::EINVAL);
    Ok(())
}

/// The fault of a job is that of its fence; the next one is executed.
fn fault() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    model.ask("inject cs-fault 0x58 any any")?;
    let done = ok!(bench.submit(0, &store(0, 7)));
    eq!(status(&dev, &done)?, -libc::EINVAL);
    eq!(bench.result(0), 0);
    eq!(ok!(bench.state()), (0, 0));
    let done = ok!(bench.submit(0, &store(0, 8)));
    eq!(status(&dev, &done)?, 0);
    eq!(bench.result(0), 8);
    Ok(())
}

fn fatal_with(code: u32) -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 2));
    model.ask(&format!("inject cs-fatal {code:#x} any 1"))?;
    let done = ok!(bench.submit(1, &store(0, 7)));
    eq!(status(&dev, &done)?, -libc::EINVAL);
    eq!(ok!(bench.state()), (FATAL, 2));
    refuses_jobs(&mut bench)?;
    others_work_again(&dev)?;
    bear(&mut model)
}

fn fatal() -> Res {
    fatal_with(0x44)
}

/// A code after which the whole GPU is reset.
fn fatal_for_all() -> Res {
    fatal_with(0x41)
}

fn mmu_fault() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    model.ask("inject mmu 0xdead000 any any")?;
    let done = ok!(bench.submit(0, &store(0, 7)));
    eq!(status(&dev, &done)?, -libc::EINVAL);
    eq!(ok!(bench.state()).0 & FATAL, FATAL);
    refuses_jobs(&mut bench)?;
    others_work(&dev)
}

/// A stream that does not go on is given up after some seconds.
fn hang() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    model.ask("inject hang any any")?;
    let done = ok!(bench.submit(0, &store(0, 7)));
    eq!(status(&dev, &done)?, -libc::ETIMEDOUT);
    eq!(ok!(bench.state()).0 & TIMED_OUT, TIMED_OUT);
    refuses_jobs(&mut bench)?;
    others_work(&dev)
}

/// The firmware says that a group makes no progress.
fn no_progress() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let done = ok!(bench.submit(0, &for_ever()));
    model.ask("inject progress any")?;
    eq!(status(&dev, &done)?, -libc::ETIMEDOUT);
    eq!(ok!(bench.state()).0 & TIMED_OUT, TIMED_OUT);
    refuses_jobs(&mut bench)?;
    others_work(&dev)
}

/// The interrupt that says that a job is over does not come, until another one does.
fn lost_interrupt() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 2));
    let mut busy = for_ever();
    busy[0] = mov32(20, 0);
    // The group is in its slot, and stays there.
    ok!(ok!(bench.submit(1, &busy)).wait(LIMIT));
    let long = ok!(bench.submit(1, &for_ever()));
    ok!(ok!(bench.submit(0, &store(1, 5))).wait(LIMIT));
    model.ask("inject irq lost job")?;
    let done = ok!(bench.submit(0, &store(0, 7)));
    err!(done.wait(Duration::from_millis(700)), sys::ETIME);
    eq!(bench.result(0), 7);
    model.ask("inject irq spurious job")?;
    eq!(status(&dev, &done)?, 0);
    drop(bench);
    check!(status(&dev, &long)? < 0);
    others_work(&dev)
}

/// What the driver does in a reset that the model counts, and that this program bears with: a change of
/// page tables that is under way goes on while the L2 is off. And a group that firmware did not start,
/// as it was told, is suspended and resumed all the same.
const BORNE: [&str; 4] = [
    "l2-off",
    "unlock-without-lock",
    "firmware-request",
    "suspend-buffer",
];

/// Forgets that, if there is nothing else.
fn bear(model: &mut Model) -> Res {
    let found = ok!(model.violations());
    let known = |line: &String| line.split(' ').any(|word| BORNE.contains(&word));
    check!(found.lines.iter().all(known), "{:?}", found.lines);
    if found.total != 0 {
        note!("borne with: {}", found.lines.join("; "));
        model.ask("violations clear")?;
    }
    Ok(())
}

/// How often the firmware was started.
fn boots(model: &mut Model) -> Res<u64> {
    for line in model.ask("counters")? {
        if let Some(n) = line.strip_suffix(" mcu-boots").and_then(model::num) {
            return Ok(n);
        }
    }
    fail!("no counter of boots")
}

/// Something after which the GPU must be reset for it to work again.
fn reset_after(request: &str, go: impl Fn(&mut Bench<'_>) -> Res) -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let first = ok!(bench.submit(0, &store(0, 1)));
    eq!(status(&dev, &first)?, 0);
    let before = boots(&mut model)?;
    let long = ok!(bench.submit(0, &for_ever()));
    std::thread::sleep(Duration::from_millis(300));
    model.ask(request)?;
    go(&mut bench)?;
    let why = status(&dev, &long)?;
    drop(bench);
    others_work_again(&dev)?;
    let after = boots(&mut model)?;
    note!("the job ended with {why}, {} boots", after - before);
    check!(why < 0);
    check!(after > before, "{after} boots");
    bear(&mut model)
}

fn ends(bench: &mut Bench<'_>) -> Res {
    ok!(bench.dev.call(&mut GroupDestroy {
        group_handle: bench.group,
        pad: 0,
    }));
    Ok(())
}

/// A group's request is never acknowledged.
fn not_acknowledged() -> Res {
    reset_after("inject no-ack any 7", ends)
}

/// A group that is not terminated.
fn not_terminated() -> Res {
    reset_after("inject no-terminate any", ends)
}

/// The firmware answers nothing any more.
fn dead_firmware() -> Res {
    reset_after("inject mcu dead", ends)
}

fn panicked_firmware() -> Res {
    reset_after("inject mcu panic", ends)
}

/// A group that does not start in its slot. Whether its job is done after all is not said.
fn not_started() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    model.ask("inject no-start any")?;
    let before = boots(&mut model)?;
    let done = ok!(bench.submit(0, &store(0, 7)));
    let why = status(&dev, &done)?;
    note!(
        "{why}, {:?}, {} boots",
        bench.state(),
        boots(&mut model)? - before
    );
    drop(bench);
    others_work_again(&dev)?;
    bear(&mut model)
}

// Tiler heaps.

/// Bytes of a chunk: room for one draw, which takes 64 KiB of it.
const CHUNK: u32 = 128 << 10;
/// The tiler context, and the descriptor of the heap, behind the results.
const CONTEXT: u64 = OUT + 0x1000;
const DESC: u64 = OUT + 0x1100;

/// An instruction with its registers in bits 55 to 48 and 47 to 40.
const fn word(opcode: u64, to: u64, from: u64, rest: u64) -> u64 {
    (opcode << 56) | (to << 48) | (from << 40) | rest
}

const REQ_TILER: u64 = word(34, 0, 0, 0xc);
const RUN_IDVS: u64 = word(6, 0, 0, 1 << 33);

/// `HEAP_OPERATION`: 0 a render pass begins, 1 it is tiled, 3 it is rendered.
fn pass(operation: u64) -> u64 {
    word(49, 0, 0, operation << 32)
}

/// A heap of at most `max` chunks, and a stream that draws so many times on it.
fn draws(dev: &Dev, bench: &Bench<'_>, max: u32, draws: usize) -> Res<Vec<u64>> {
    let mut heap = TilerHeapCreate {
        vm_id: bench.vm,
        initial_chunk_count: 1,
        chunk_size: CHUNK,
        max_chunks: max,
        target_in_flight: 64,
        ..TilerHeapCreate::default()
    };
    ok!(dev.call(&mut heap));
    let at = |va: u64| ((va - OUT) / 8) as usize;
    let first = heap.first_chunk_gpu_va;
    bench.out.set(at(CONTEXT) + 3, DESC);
    bench.out.set(at(DESC), u64::from(CHUNK) << 32);
    bench.out.set(at(DESC) + 1, first);
    bench.out.set(at(DESC) + 2, first + 64);
    bench.out.set(at(DESC) + 3, first + u64::from(CHUNK));
    let mut stream = vec![
        mov48(70, heap.ctx_gpu_va),
        word(48, 0, 70, 0),
        mov48(40, CONTEXT),
        REQ_TILER,
        pass(0),
    ];
    stream.extend(std::iter::repeat_n(RUN_IDVS, draws));
    stream.extend([wait(0xff), pass(1)]);
    stream.extend(store(0, 7));
    Ok(stream)
}

/// What the model counted under a name.
fn odd(model: &mut Model, name: &str) -> Res<u64> {
    let lines = model.ask("counters")?;
    let count = |line: &String| {
        let (n, what) = line.split_once(' ')?;
        (what.split(' ').next()? == name).then(|| model::num(n))?
    };
    Ok(lines.iter().find_map(count).unwrap_or(0))
}

/// The tiler has no room five times, and gets a chunk each time.
fn heap_grows() -> Res {
    let (dev, _) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let stream = draws(&dev, &bench, 8, 6)?;
    let done = ok!(bench.submit(0, &stream));
    eq!(status(&dev, &done)?, 0);
    eq!(bench.result(0), 7);
    eq!(ok!(bench.state()), (0, 0));
    Ok(())
}

/// It has no room, gets none, and there is nobody to give some back: a fault of the job.
fn heap_at_its_limit() -> Res {
    let (dev, mut model) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let stream = draws(&dev, &bench, 2, 4)?;
    let skipped = odd(&mut model, "cs-skipped")?;
    let done = ok!(bench.submit(0, &stream));
    eq!(status(&dev, &done)?, -libc::EINVAL);
    eq!(bench.result(0), 0);
    check!(odd(&mut model, "cs-skipped")? > skipped);
    eq!(ok!(bench.state()), (0, 0));
    let done = ok!(bench.submit(0, &store(1, 9)));
    eq!(status(&dev, &done)?, 0);
    eq!(bench.result(1), 9);
    Ok(())
}

/// The exception handler of the stream renders what there is, and gives the chunks back.
fn heap_with_a_handler() -> Res {
    let (dev, _) = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let (context, list) = (CONTEXT, 40);
    // Draws have a scoreboard of their own: the one that waits for memory is not waited for.
    let handler = [
        mov48(72, context),
        // The list of full chunks: first in d86, last in d88.
        word(20, 86, 72, (0xf << 16) | list),
        wait(1),
        // They go back to the heap, and the context has none.
        word(11, 0, 86, 88 << 32),
        mov48(74, 0),
        mov48(76, 0),
        word(21, 74, 72, (0xf << 16) | list),
        wait(1),
        mov48(78, OUT + 4),
        add32(80, 80, 1),
        store32(78, 80, 0),
        wait(1),
    ];
    let (at, bytes) = ok!(bench.stream(&handler));
    let mut stream = vec![
        word(23, 0, 0, 1),
        mov32(80, 0),
        mov48(82, at),
        mov32(84, bytes),
        word(25, 0, 82, (84 << 32) | 2),
    ];
    stream.extend(draws(&dev, &bench, 2, 6)?);
    let done = ok!(bench.submit(0, &stream));
    eq!(status(&dev, &done)?, 0);
    eq!(bench.result(0), 7);
    let runs = bench.result(1);
    check!(runs > 0, "the handler did not run");
    note!("the handler ran {runs} times");
    eq!(ok!(bench.state()), (0, 0));
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        fault,
        fatal,
        fatal_for_all,
        mmu_fault,
        hang,
        no_progress,
        lost_interrupt,
        not_started,
        not_acknowledged,
        not_terminated,
        dead_firmware,
        panicked_firmware,
        heap_grows,
        heap_at_its_limit,
        heap_with_a_handler,
    ])
}
