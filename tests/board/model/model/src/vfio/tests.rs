// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the vfio-user server, with this end of the socket in the place of QEMU.

use super::irqs::Vectors;
use super::server::Server;
use crate::clock::{Clock, Timing};
use crate::device::Gpu;
use crate::identity::Identity;
use crate::shared::Shared;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The client's end.
struct Client {
    stream: UnixStream,
    shared: Arc<Shared>,
    server: JoinHandle<std::io::Result<()>>,
}

fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|w| w.to_le_bytes()).collect()
}

impl Client {
    fn new() -> Self {
        let (stream, other) = UnixStream::pair().unwrap();
        let vectors = Vectors::default();
        let gpu = Gpu::new(
            Identity::default(),
            Timing::default(),
            Clock::host(),
            Box::new(vectors.clone()),
        );
        let shared = Shared::new(gpu);
        let mut server = Server::new(
            other,
            Arc::clone(&shared),
            vectors,
            Duration::from_micros(20),
            false,
        );
        Self {
            stream,
            shared,
            server: std::thread::spawn(move || server.run()),
        }
    }

    fn send(&mut self, command: u32, no_reply: bool, body: &[u8], fd: Option<BorrowedFd<'_>>) {
        let mut message = words(&[
            0x1234 | (command << 16),
            16 + body.len() as u32,
            if no_reply { 0x10 } else { 0 },
            0,
        ]);
        message.extend_from_slice(body);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let iov = [IoSlice::new(&message)];
        let sent = sendmsg(&self.stream, &iov, &mut control, SendFlags::empty()).unwrap();
        assert_eq!(sent, message.len());
    }

    /// Error number and body of the next answer.
    fn answer(&mut self, command: u32) -> (u32, Vec<u8>) {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).unwrap();
        let word = |i: usize| u32::from_le_bytes(head[4 * i..4 * i + 4].try_into().unwrap());
        assert_eq!(word(0), 0x1234 | (command << 16));
        let mut body = vec![0; word(1) as usize - 16];
        self.stream.read_exact(&mut body).unwrap();
        let error = word(3);
        assert_eq!(word(2), if error == 0 { 1 } else { 0x21 });
        (error, body)
    }

    fn call(&mut self, command: u32, body: &[u8], fd: Option<BorrowedFd<'_>>) -> (u32, Vec<u8>) {
        self.send(command, false, body, fd);
        self.answer(command)
    }

    fn read(&mut self, region: u32, offset: u32, count: u32) -> Vec<u8> {
        let (error, body) = self.call(9, &words(&[offset, 0, region, count]), None);
        assert_eq!(error, 0);
        body[16..].to_vec()
    }

    fn post(&mut self, offset: u32, value: u32) {
        self.send(10, true, &words(&[offset, 0, 0, 4, value]), None);
    }
}

#[test]
fn version_and_descriptions() {
    let mut c = Client::new();
    let (error, body) = c.call(1, b"\0\0\x01\0{\"capabilities\":{}}\0", None);
    assert_eq!((error, &body[..4]), (0, &[0, 0, 1, 0][..]));
    assert!(body.ends_with(b"}}\0"));
    let (_, body) = c.call(4, &words(&[16, 0, 0, 0]), None);
    assert_eq!(body, words(&[16, 3, 9, 5]));
    let (_, body) = c.call(5, &words(&[32, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(body, words(&[32, 3, 0, 0, 0x20_0000, 0, 0, 0]));
    let (_, body) = c.call(7, &words(&[16, 0, 2, 0]), None);
    assert_eq!(body[12..], words(&[3]));
    assert_eq!(c.read(7, 0, 4), words(&[0xa867_13b5]));
    assert_eq!(c.read(0, 0, 4), words(&[0xa867_0005]));
}

#[test]
fn bad_messages_get_an_errno() {
    let mut c = Client::new();
    assert_eq!(c.call(99, &[], None).0, 95);
    assert_eq!(c.call(5, &words(&[32, 0, 9]), None).0, 22);
    assert_eq!(c.call(9, &words(&[0, 0, 0, u32::MAX]), None).0, 22);
    assert_eq!(c.call(9, &words(&[0, 0, 0, 64]), None).0, 22);
    assert_eq!(c.call(9, &words(&[0, 0, 33, 4]), None).0, 22);
    assert_eq!(c.call(10, &words(&[0, 0, 0, 4]), None).0, 22);
    assert_eq!(c.call(10, &[], None).0, 0, "nothing written");
    assert_eq!(c.call(1, &[7, 0, 0, 0], None).0, 95);
    // A size that cannot be ends the connection.
    c.stream.write_all(&words(&[0, 3, 0, 0])).unwrap();
    assert!(c.server.join().unwrap().is_err());
}

#[test]
fn memory_interrupts_and_timed_operations() {
    let mut c = Client::new();
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, 1 << 20).unwrap();
    let map = words(&[32, 3, 0, 0, 0x4000_0000, 0, 1 << 20, 0]);
    assert_eq!(c.call(2, &map, Some(fd.as_fd())).0, 0);
    assert_eq!(c.call(2, &map, Some(fd.as_fd())).0, 22, "overlaps");
    assert!(c
        .shared
        .inspect(|gpu| gpu.env.ram.contains(0x4000_0000, 1 << 20)));

    // Mask and power first: the event is pending when the listener comes.
    c.post(0x28, 0x600);
    c.post(0x304, 31);
    c.post(0x1a0, 1);
    while c.read(0, 0x160, 4) != words(&[1]) {}
    let irq = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let set = words(&[20, 0x24, 2, 2, 1]);
    assert_eq!(c.call(8, &set, Some(irq.as_fd())).0, 0);
    let mut count = [0; 8];
    rustix::io::read(&irq, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);

    // A flush ends without any further message.
    c.post(0x24, u32::MAX);
    c.post(0x28, 1 << 17);
    c.post(0x30, 0x2_3304);
    rustix::io::read(&irq, &mut count).unwrap();
    assert_eq!(c.read(0, 0x20, 4), words(&[1 << 17]));
    assert_eq!(c.call(8, &words(&[20, 0x24, 2, 3, 1]), None).0, 22);

    assert_eq!(c.call(13, &[], None).0, 0);
    assert_eq!(c.read(0, 0x160, 4), words(&[0]));
    let unmap = words(&[32, 0, 0x4000_0000, 0, 1 << 20, 0]);
    assert_eq!(c.call(3, &unmap, None), (0, unmap.clone()));
    assert!(!c.shared.inspect(|gpu| gpu.env.ram.contains(0x4000_0000, 8)));
    drop(c.stream);
    assert!(c.server.join().unwrap().is_ok(), "ends when QEMU goes");
}
