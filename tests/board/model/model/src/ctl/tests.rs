// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the control socket over a device with memory.

use super::{bulk, listen, respond};
use crate::shared::Shared;
use crate::testing::{leaf, Bench};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A mebibyte at 0x10_0000 of AS1 in scattered pages, a read-only page behind it.
fn shared() -> Arc<Shared> {
    let mut b = Bench::powered();
    let root = b.enable(1);
    for i in 0..256 {
        let page = b.page();
        b.map(root, 0x10_0000 + (i ^ 0x55) * 0x1000, page, leaf::RW);
    }
    let page = b.page();
    b.map(root, 0x20_0000, page, leaf::RO | leaf::XN);
    b.clean();
    Shared::new(b.gpu)
}

fn ask(shared: &Shared, line: &str) -> String {
    let mut out = Vec::new();
    respond(shared, line, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn fill_check_hash() {
    let s = shared();
    assert_eq!(ask(&s, "fill 1 0x100000 0x100000 77"), "ok\n");
    assert_eq!(ask(&s, "check 1 0x100000 0x100000 77"), "good\nok\n");
    // The pattern goes on over pages.
    assert_eq!(ask(&s, "check 1 0x101000 0x1000 589"), "good\nok\n");
    let want = (0..0x2_0000u64)
        .map(|i| bulk::mix(77 + i))
        .fold(bulk::FNV_START, bulk::fnv_word);
    assert_eq!(
        ask(&s, "hash 1 0x100000 0x100000"),
        format!("hash {want:#018x}\nok\n")
    );
    assert_eq!(ask(&s, "write 1 0x1ffffe 0102"), "ok\n");
    let bad = ask(&s, "check 1 0x100000 0x100000 77");
    assert!(bad.starts_with("bad 0xffff8 0x201"), "{bad}");
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}

#[test]
fn read_and_write_cross_pages() {
    let s = shared();
    assert_eq!(ask(&s, "write 1 0x100ffe 0a0b0c0d"), "ok\n");
    assert_eq!(ask(&s, "read 1 0x100ffc 8"), "00000a0b0c0d0000\nok\n");
    assert_eq!(ask(&s, "read 1 0x100ffe 0"), "ok\n");
    let long = ask(&s, "read 1 0x100000 33");
    assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [64, 2, 2]);
}

#[test]
fn translate_and_tlb() {
    let s = shared();
    let line = ask(&s, "translate 1 0x200008");
    assert!(
        line.contains(" size 0x1000 attr 1 flags ro,nx source walk\nok\n"),
        "{line}"
    );
    assert_eq!(ask(&s, "translate 1 0x200008 w"), "fault 0xcb 3\nok\n");
    assert_eq!(ask(&s, "translate 1 0x300000 r"), "fault 0xc3 3\nok\n");
    assert_eq!(ask(&s, "translate 1 0x300000 r"), "fault 0xc3 3\nok\n");
    assert_eq!(ask(&s, "tlb"), "ok\n");
    ask(&s, "read 1 0x200000 1");
    assert!(ask(&s, "translate 1 0x200000 r").contains("source tlb"));
    assert_eq!(ask(&s, "tlb 1").lines().count(), 2);
    assert_eq!(ask(&s, "tlb 2"), "ok\n");
    let spaces = ask(&s, "as");
    assert_eq!(spaces.lines().count(), 9);
    let root = spaces.lines().nth(1).unwrap().split(' ').nth(3).unwrap();
    let by_root = ask(&s, &format!("root {root} 0x200010"));
    assert!(by_root.contains("flags ro,nx source walk"), "{by_root}");
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}

#[test]
fn faults_are_told_and_counted() {
    let s = shared();
    assert_eq!(
        ask(&s, "read 1 0x300000 4"),
        "err fault 0xc3 level 3 va 0x300000\n"
    );
    assert_eq!(
        ask(&s, "write 1 0x200000 00"),
        "err fault 0xcb level 3 va 0x200000\n"
    );
    assert_eq!(
        ask(&s, "exec 1 0x200000"),
        "err fault 0xcb level 3 va 0x200000\n"
    );
    assert_eq!(ask(&s, "exec 1 0x100000"), "ok\n");
    assert!(ask(&s, "read 9 0 4").starts_with("err no such"));
    assert_eq!(
        ask(&s, "violations"),
        "2 permission-fault\n1 invalid-access\ntotal 3\nok\n"
            .lines()
            .map(String::from)
            .collect::<Vec<_>>()
            .sorted_like_model()
    );
    assert!(ask(&s, "violations log").contains("invalid-access: AS1 Read at 0x300000"));
    assert_eq!(ask(&s, "violations clear"), "ok\n");
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}

/// Violations come in the order of the list of kinds.
trait Sorted {
    fn sorted_like_model(self) -> String;
}

impl Sorted for Vec<String> {
    fn sorted_like_model(mut self) -> String {
        self[..2].sort_by_key(|line| {
            let name = line.split(' ').nth(1).unwrap().to_string();
            crate::violations::Violation::ALL
                .iter()
                .position(|v| v.name() == name)
        });
        self.join("\n") + "\n"
    }
}

#[test]
fn other_requests() {
    let s = shared();
    assert!(ask(&s, "regs").contains("GPU_ID 0x00000 0xa8670005\n"));
    assert!(ask(&s, "counters").contains(" updates\n"));
    assert_eq!(ask(&s, "mcu"), "mcu disabled status 0\nok\n");
    assert_eq!(ask(&s, "pmem 0x40000000 1").len(), "xx\nok\n".len());
    assert_eq!(ask(&s, "pmem 0 1"), "err outside memory\n");
}

#[test]
fn addresses_at_the_end_do_not_panic() {
    let s = shared();
    for va in ["0xffffffffffffffff", "0xfffffffffffffff8", "0xffffffffffff"] {
        for request in ["read 1 VA 16", "write 1 VA 0000000000000000", "exec 1 VA"] {
            let answer = ask(&s, &request.replace("VA", va));
            assert!(answer.starts_with("err fault"), "{answer}");
        }
    }
    assert!(ask(&s, "hash 1 0xfffffffffffffff8 64").starts_with("err fault"));
    assert!(ask(&s, "translate 1 0xffffffffffffffff").starts_with("fault 0xe0"));
    assert_eq!(
        ask(&s, "pmem 0xffffffffffffffff 16"),
        "err outside memory\n"
    );
    assert!(ask(&s, "root 0xffffffffffffffff 0").starts_with("fault"));
}

#[test]
fn locked_regions_stall_until_unlocked() {
    let s = shared();
    let command = |n: u32| {
        s.access(|gpu| gpu.mmio_write(0x2458, &n.to_le_bytes()));
        // The bench's clock stands still.
        s.access(|gpu| {
            if let crate::clock::Clock::Manual(now) = &mut gpu.env.clock {
                *now += 1_000_000;
            }
            gpu.advance();
        });
    };
    s.access(|gpu| {
        gpu.mmio_write(0x2450, &(0x10_0000u32 | 19).to_le_bytes());
        gpu.mmio_write(0x2454, &[0; 4]);
    });
    command(2);
    let other = Arc::clone(&s);
    let reader = std::thread::spawn(move || ask(&other, "read 1 0x100000 1"));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reader.is_finished());
    s.access(|gpu| gpu.mmio_write(0x30, &0x2_3304u32.to_le_bytes()));
    command(0);
    command(3);
    assert_eq!(reader.join().unwrap().lines().last(), Some("ok"));
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}

#[test]
fn many_connections_and_garbage() {
    let dir = std::env::temp_dir().join(format!("mali-ctl-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let s = shared();
    std::thread::spawn(move || listen(&s, &listener));
    let open = || BufReader::new(UnixStream::connect(&path).unwrap());
    let talk = |stream: &mut BufReader<UnixStream>, bytes: &[u8]| {
        stream.get_mut().write_all(bytes).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line
    };
    let mut quiet = open();
    let mut a = open();
    let mut b = open();
    assert_eq!(talk(&mut a, b"mcu\n"), "mcu disabled status 0\n");
    assert!(talk(&mut b, b"\xff\xfe\0\n").starts_with("err"));
    assert_eq!(talk(&mut b, b"violations clear\r\n"), "ok\n");
    // Longer than any request, then a good one.
    let mut long = vec![b'x'; 3 << 20];
    long.push(b'\n');
    assert_eq!(talk(&mut b, &long), "err line too long\n");
    assert_eq!(talk(&mut b, b"violations clear\n"), "ok\n");
    // Goes in the middle of a line.
    a.get_mut().write_all(b"vio").unwrap();
    drop(a);
    assert_eq!(talk(&mut quiet, b"violations clear\n"), "ok\n");
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn bulk_requests_are_fast() {
    let s = shared();
    let start = Instant::now();
    for _ in 0..64 {
        ask(&s, "check 1 0x100000 0x100000 1");
        ask(&s, "hash 1 0x100000 0x100000");
    }
    // Seconds without optimisation on a slow machine; the point is not to take minutes.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_stream_as_text() {
    let s = shared();
    // MOVE48 d92, 0x1000; CALL d92, r94; an opcode that does not exist: over the end of a page.
    let code = "00100000 00005c01 00000000 5e5c0020 00000000 000000ff";
    let line = format!("write 1 0x100ff0 {}", code.replace(' ', ""));
    assert_eq!(ask(&s, &line), "ok\n");
    ask(&s, "write 1 0x101000 00000000000000ff");
    let tlb = ask(&s, "tlb");
    let want = "\
000000100ff0 015c000000001000 MOVE48 d92, 0x1000
000000100ff8 20005c5e00000000 CALL d92, r94
000000101000 ff00000000000000 unknown opcode 255
ok
";
    assert_eq!(ask(&s, "stream 1 0x100ff0 24"), want);
    assert_eq!(ask(&s, "tlb"), tlb);
    assert_eq!(
        ask(&s, "stream 1 0x300000 8"),
        "err fault 0xc3 va 0x300000\n"
    );
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}

#[test]
fn a_shader_as_text() {
    let s = shared();
    // MOV.i32 r0, r60 and NOP.end.
    let code = "3c000000 00c09100 00000000 00c00078";
    let line = format!("write 1 0x100000 {}", code.replace(' ', ""));
    assert_eq!(ask(&s, &line), "ok\n");
    let want = "\
000000100000 0091c0000000003c MOV.i32 r0, r60
000000100008 7800c00000000000 NOP.end\u{20}
ok
";
    assert_eq!(ask(&s, "shader 1 0x100000 64"), want);
    assert_eq!(ask(&s, "violations"), "total 0\nok\n");
}
