// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Groups, submissions and tiler heaps with bad handles and arguments: the refusals that do not
//! depend on a working command stream.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

/// A group that is right in everything but its VM.
fn group(queues: &[QueueCreate]) -> GroupCreate {
    GroupCreate {
        queues: ObjArray::of(queues),
        max_compute_cores: 1,
        max_fragment_cores: 1,
        max_tiler_cores: 1,
        priority: 1,
        compute_core_mask: 1,
        fragment_core_mask: 1,
        tiler_core_mask: 1,
        vm_id: 31,
        ..GroupCreate::default()
    }
}

const QUEUE: QueueCreate = QueueCreate {
    priority: 1,
    pad: [0; 3],
    ringbuf_size: 65536,
};

fn group_create_bad_vm() -> Res {
    let d = ok!(Dev::open());
    let q = [QUEUE];
    for vm_id in [0, 1, 33, u32::MAX] {
        err!(d.call(&mut GroupCreate { vm_id, ..group(&q) }), EINVAL);
    }
    Ok(())
}

fn group_create_bad_args() -> Res {
    let d = ok!(Dev::open());
    let vm_id = ok!(d.vm());
    let q = [QUEUE; 33];
    let good = group(&q[..1]);
    // In each of these the VM is good and one thing is wrong.
    for (what, a) in [
        (
            "no queues",
            GroupCreate {
                queues: ObjArray::default(),
                ..good
            },
        ),
        ("33 queues", group(&q)),
        (
            "short stride",
            GroupCreate {
                queues: ObjArray {
                    stride: 7,
                    ..good.queues
                },
                ..good
            },
        ),
        (
            "priority 4",
            GroupCreate {
                priority: 4,
                ..good
            },
        ),
        ("pad", GroupCreate { pad: 1, ..good }),
        (
            "compute mask",
            GroupCreate {
                compute_core_mask: 2,
                ..good
            },
        ),
        (
            "fragment mask",
            GroupCreate {
                fragment_core_mask: 1 << 63,
                ..good
            },
        ),
        (
            "tiler mask",
            GroupCreate {
                tiler_core_mask: 2,
                ..good
            },
        ),
        (
            "compute cores",
            GroupCreate {
                max_compute_cores: 2,
                ..good
            },
        ),
        (
            "fragment cores",
            GroupCreate {
                max_fragment_cores: 2,
                ..good
            },
        ),
        (
            "tiler cores",
            GroupCreate {
                max_tiler_cores: 2,
                ..good
            },
        ),
    ] {
        let r = d.call(&mut GroupCreate { vm_id, ..a });
        check!(r == Err(EINVAL), "{what}: {r:?}");
    }
    Ok(())
}

/// The high priorities are for CAP_SYS_NICE and DRM masters. That is looked at after the array of
/// queues and before the rest.
fn group_create_priority() -> Res {
    let mut c = child::Child::spawn(|e| {
        let ask = |what: &str| -> Res<String> {
            let q = [QUEUE];
            let good = group(&q);
            // Who was not the master, nor can be by this file.
            let d = ok!(Dev::open());
            let a = match what {
                "low" => GroupCreate {
                    priority: 0,
                    ..good
                },
                "medium" => good,
                "high" => GroupCreate {
                    priority: 2,
                    ..good
                },
                "realtime" => GroupCreate {
                    priority: 3,
                    ..good
                },
                "high, pad" => GroupCreate {
                    priority: 2,
                    pad: 1,
                    ..good
                },
                "unknown" => GroupCreate {
                    priority: 4,
                    ..good
                },
                "high, no array" => GroupCreate {
                    priority: 2,
                    queues: ObjArray {
                        array: 8,
                        ..good.queues
                    },
                    ..good
                },
                _ => fail!("{what}?"),
            };
            Ok(child::said(d.call(&mut { a })))
        };
        let dropped = ns::drop_cap(ns::CAP_SYS_NICE).map(|()| String::new());
        e.answer(&dropped.map_err(|e| e.to_string()));
        e.serve(|what| ask(what).map_err(|e| format!("{e:?}")));
    })?;
    let got = c.recv(std::time::Duration::from_secs(10))?;
    check!(got == Ok(String::new()), "{got:?}");
    for (what, want) in [
        ("low", EINVAL),
        ("medium", EINVAL),
        ("high", EACCES),
        ("realtime", EACCES),
        ("high, pad", EACCES),
        ("unknown", EINVAL),
        ("high, no array", EFAULT),
    ] {
        let got = c.call(what)?;
        check!(got == want.to_string(), "{what}: {got}, want {want}");
    }
    // With the capability the VM that is not there is what is wrong.
    let d = ok!(Dev::open());
    let q = [QUEUE];
    for priority in 0..4 {
        err!(
            d.call(&mut GroupCreate {
                priority,
                ..group(&q)
            }),
            EINVAL
        );
    }
    Ok(())
}

/// The array of queues: memory that is not there, and a version that nobody knows.
fn group_create_array() -> Res {
    let d = ok!(Dev::open());
    let q = [QUEUE];
    let good = group(&q);
    let bad = ObjArray {
        array: 8,
        ..good.queues
    };
    err!(
        d.call(&mut GroupCreate {
            queues: bad,
            ..good
        }),
        EFAULT
    );
    let newer = [[u64::from_le_bytes([1, 0, 0, 0, 0, 0, 1, 0]), 1]];
    err!(
        d.call(&mut GroupCreate {
            queues: ObjArray::of(&newer),
            ..good
        }),
        E2BIG
    );
    Ok(())
}

fn group_destroy() -> Res {
    let d = ok!(Dev::open());
    for group_handle in [0, 1, 128, 129, u32::MAX] {
        err!(
            d.call(&mut GroupDestroy {
                group_handle,
                pad: 0
            }),
            EINVAL
        );
        err!(
            d.call(&mut GroupDestroy {
                group_handle,
                pad: 1
            }),
            EINVAL
        );
    }
    Ok(())
}

fn group_get_state() -> Res {
    let d = ok!(Dev::open());
    for group_handle in [0, 1, 128, 129, u32::MAX] {
        let mut a = GroupGetState {
            group_handle,
            ..GroupGetState::default()
        };
        err!(d.call(&mut a), EINVAL);
        let mut a = GroupGetState {
            group_handle,
            pad: 1,
            ..GroupGetState::default()
        };
        err!(d.call(&mut a), EINVAL);
    }
    Ok(())
}

fn group_submit() -> Res {
    let d = ok!(Dev::open());
    let job = [QueueSubmit::default()];
    for group_handle in [0, 1, 128, 129, u32::MAX] {
        err!(
            d.call(&mut GroupSubmit {
                group_handle,
                pad: 0,
                queue_submits: ObjArray::of(&job)
            }),
            EINVAL
        );
    }
    err!(
        d.call(&mut GroupSubmit {
            group_handle: 1,
            pad: 1,
            queue_submits: ObjArray::default()
        }),
        EINVAL
    );
    let short = ObjArray {
        stride: 39,
        ..ObjArray::of(&job)
    };
    err!(
        d.call(&mut GroupSubmit {
            group_handle: 1,
            pad: 0,
            queue_submits: short
        }),
        EINVAL
    );
    let bad = ObjArray {
        stride: 40,
        count: 1,
        array: 8,
    };
    err!(
        d.call(&mut GroupSubmit {
            group_handle: 1,
            pad: 0,
            queue_submits: bad
        }),
        EFAULT
    );
    let mut long = [[0u64; 6]];
    long[0][5] = 1;
    err!(
        d.call(&mut GroupSubmit {
            group_handle: 1,
            pad: 0,
            queue_submits: ObjArray::of(&long)
        }),
        E2BIG
    );
    // Nothing to do: the handle is not looked at.
    ok!(d.call(&mut GroupSubmit {
        group_handle: 4711,
        pad: 0,
        queue_submits: ObjArray::default()
    }));
    Ok(())
}

fn heap_create_bad_vm() -> Res {
    let d = ok!(Dev::open());
    for vm_id in [0, 1, 33, u32::MAX] {
        let mut a = TilerHeapCreate {
            vm_id,
            initial_chunk_count: 5,
            chunk_size: 2 * M as u32,
            max_chunks: 64,
            target_in_flight: 65535,
            ..TilerHeapCreate::default()
        };
        err!(d.call(&mut a), EINVAL);
    }
    Ok(())
}

/// The VM is good, and one thing is wrong.
fn heap_create_bad_args() -> Res {
    let d = ok!(Dev::open());
    let good = TilerHeapCreate {
        vm_id: ok!(d.vm()),
        initial_chunk_count: 5,
        chunk_size: 2 * M as u32,
        max_chunks: 64,
        target_in_flight: 65535,
        ..TilerHeapCreate::default()
    };
    let size = |chunk_size| TilerHeapCreate { chunk_size, ..good };
    let chunks = |initial_chunk_count, max_chunks| TilerHeapCreate {
        initial_chunk_count,
        max_chunks,
        ..good
    };
    for (what, mut a) in [
        ("no chunk", chunks(0, 64)),
        ("more than the most", chunks(65, 64)),
        ("chunks of no size", size(0)),
        ("chunks of 64 KiB", size(64 * K as u32)),
        ("chunks of 16 MiB", size(16 * M as u32)),
        ("not in pages", size(2 * M as u32 + 2048)),
    ] {
        let r = d.call(&mut a);
        check!(r == Err(EINVAL), "{what}: {r:?}");
    }
    Ok(())
}

fn heap_destroy() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    err!(
        d.call(&mut TilerHeapDestroy {
            handle: (vm + 1) << 16,
            pad: 0
        }),
        EINVAL
    );
    err!(d.call(&mut TilerHeapDestroy { handle: 0, pad: 0 }), EINVAL);
    err!(
        d.call(&mut TilerHeapDestroy {
            handle: vm << 16,
            pad: 1
        }),
        EINVAL
    );
    // A VM that never had a heap has no pool.
    err!(
        d.call(&mut TilerHeapDestroy {
            handle: vm << 16,
            pad: 0
        }),
        ENOENT
    );
    err!(
        d.call(&mut TilerHeapDestroy {
            handle: (vm << 16) | 5,
            pad: 0
        }),
        ENOENT
    );
    Ok(())
}

/// Asynchronous binds check their arguments before they queue anything.
fn bind_async_bad_args() -> Res {
    let d = ok!(Dev::open());
    let vm_id = ok!(d.vm());
    let call = |vm_id, ops: &[Op]| {
        d.call(&mut VmBind {
            vm_id,
            flags: BIND_ASYNC,
            ops: ObjArray::of(ops),
        })
    };
    if call(vm_id, &[Op::unmap(M, M)]) == Err(EOPNOTSUPP) {
        skip!("asynchronous binds come with the GPU-work half");
    }
    err!(call(vm_id + 1, &[Op::unmap(M, M)]), EINVAL);
    err!(call(vm_id, &[Op::map(1000, 0, M, PAGE)]), EINVAL);
    err!(
        call(
            vm_id,
            &[Op {
                flags: OP_SYNC_ONLY,
                ..Op::default()
            }]
        ),
        EINVAL
    );
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        group_create_bad_vm,
        group_create_bad_args,
        group_create_priority,
        group_create_array,
        group_destroy,
        group_get_state,
        group_submit,
        heap_create_bad_vm,
        heap_create_bad_args,
        heap_destroy,
        bind_async_bad_args,
    ])
}
