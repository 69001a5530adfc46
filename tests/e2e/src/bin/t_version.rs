// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Name, version and capabilities of the DRM device, and its file as such.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::mem::size_of;

/// The sizes of the arguments are the uAPI's, so that every other test asks what it means to ask.
fn layout() -> Res {
    for (name, got, want) in [
        ("DevQuery", size_of::<DevQuery>(), 16),
        ("VmCreate", size_of::<VmCreate>(), 16),
        ("VmDestroy", size_of::<VmDestroy>(), 8),
        ("VmBind", size_of::<VmBind>(), 24),
        ("VmGetState", size_of::<VmGetState>(), 8),
        ("BoCreate", size_of::<BoCreate>(), 24),
        ("BoMmapOffset", size_of::<BoMmapOffset>(), 16),
        ("GroupCreate", size_of::<GroupCreate>(), 56),
        ("GroupDestroy", size_of::<GroupDestroy>(), 8),
        ("GroupSubmit", size_of::<GroupSubmit>(), 24),
        ("GroupGetState", size_of::<GroupGetState>(), 16),
        ("TilerHeapCreate", size_of::<TilerHeapCreate>(), 40),
        ("TilerHeapDestroy", size_of::<TilerHeapDestroy>(), 8),
        ("BoSetLabel", size_of::<BoSetLabel>(), 16),
        ("SetUserMmioOffset", size_of::<SetUserMmioOffset>(), 8),
        ("BoSync", size_of::<BoSync>(), 16),
        ("BoQueryInfo", size_of::<BoQueryInfo>(), 16),
        ("VmBindOp", size_of::<VmBindOp>(), 48),
        ("BoSyncOp", size_of::<BoSyncOp>(), 24),
        ("SyncOp", size_of::<SyncOp>(), 16),
        ("QueueCreate", size_of::<QueueCreate>(), 8),
        ("QueueSubmit", size_of::<QueueSubmit>(), 40),
        ("GpuInfo", size_of::<GpuInfo>(), 112),
        ("TimestampInfo", size_of::<TimestampInfo>(), 56),
    ] {
        check!(got == want, "{name}: {got}, want {want}");
    }
    eq!(DevQuery::CODE, 0xc010_6440);
    eq!(VmBind::CODE, 0xc018_6443);
    eq!(GroupCreate::CODE, 0xc038_6447);
    eq!(TilerHeapCreate::CODE, 0xc028_644b);
    eq!(BoQueryInfo::CODE, 0xc010_6450);
    Ok(())
}

fn name_and_version() -> Res {
    let d = ok!(Dev::open());
    eq!(ok!(d.version()), ("panthor".to_string(), 1, 9));
    Ok(())
}

fn capabilities() -> Res {
    let d = ok!(Dev::open());
    eq!(ok!(d.cap(CAP_SYNCOBJ)), 1);
    eq!(ok!(d.cap(CAP_SYNCOBJ_TIMELINE)), 1);
    // Import and export.
    eq!(ok!(d.cap(CAP_PRIME)), 3);
    Ok(())
}

fn render_node() -> Res {
    let n = drm::nodes();
    eq!(n.len(), 1);
    check!(n[0].to_string_lossy().contains("renderD"), "{n:?}");
    Ok(())
}

/// The features are really there, not only claimed.
fn syncobj() -> Res {
    let d = ok!(Dev::open());
    let mut c = SyncobjCreate {
        handle: 0,
        flags: 1,
    };
    ok!(d.call(&mut c));
    check!(c.handle != 0);
    ok!(d.call(&mut SyncobjDestroy {
        handle: c.handle,
        pad: 0
    }));
    err!(
        d.call(&mut SyncobjDestroy {
            handle: c.handle,
            pad: 0
        }),
        EINVAL
    );
    Ok(())
}

/// No modesetting: dumb buffers are refused.
fn no_modeset() -> Res {
    #[repr(C)]
    #[derive(Clone, Copy, Default, Debug)]
    struct CreateDumb {
        height: u32,
        width: u32,
        bpp: u32,
        flags: u32,
        handle: u32,
        pitch: u32,
        size: u64,
    }
    // SAFETY: integers only.
    unsafe impl Arg for CreateDumb {
        const CODE: u64 = iowr(0xb2, size_of::<CreateDumb>());
    }
    let d = ok!(Dev::open());
    let mut a = CreateDumb {
        height: 64,
        width: 64,
        bpp: 32,
        ..CreateDumb::default()
    };
    let r = d.call(&mut a);
    check!(r.is_err(), "CREATE_DUMB worked on a render node");
    Ok(())
}

/// An ioctl number beyond the last is EINVAL; every argument size is accepted as the DRM core does.
fn unknown_ioctl() -> Res {
    #[repr(C)]
    #[derive(Clone, Copy, Default, Debug)]
    struct Unknown {
        a: u64,
    }
    // SAFETY: integers only.
    unsafe impl Arg for Unknown {
        const CODE: u64 = iowr(0x51, 8);
    }
    let d = ok!(Dev::open());
    err!(d.call(&mut Unknown::default()), EINVAL);
    Ok(())
}

/// A bad argument pointer is EFAULT for every ioctl of the driver.
fn bad_argument_pointer() -> Res {
    let d = ok!(Dev::open());
    for nr in 0x40..=0x50u64 {
        let size = [
            16, 16, 8, 24, 8, 24, 16, 56, 8, 24, 16, 40, 8, 16, 8, 16, 16,
        ][nr as usize - 0x40];
        // SAFETY: the address is never mapped; the kernel refuses it.
        let r = unsafe { ioctl_raw(d.fd(), iowr(nr as u32, size), 8 as *mut _) };
        check!(r == Err(EFAULT), "ioctl {nr:#x}: {r:?}");
    }
    Ok(())
}

/// An argument shorter than the kernel's is extended by zeroes.
fn short_argument() -> Res {
    let d = ok!(Dev::open());
    // VM_DESTROY with 4 bytes: id only; pad counts as 0.
    let vm = ok!(d.vm());
    let mut id = [vm, 0xffff_ffff];
    // SAFETY: the code says 4 bytes.
    let r = unsafe { ioctl_raw(d.fd(), iowr(0x42, 4), id.as_mut_ptr().cast()) };
    check!(r.is_ok(), "{r:?}");
    eq!(id[1], 0xffff_ffff);
    err!(d.vm_destroy(vm), EINVAL);
    Ok(())
}

/// Many files open at a time, each with its own names.
fn many_files() -> Res {
    let v: Vec<Dev> = (0..100).map(|_| Dev::open()).collect::<Result<_>>()?;
    for d in &v {
        eq!(ok!(d.vm()), 1);
    }
    let b = ok!(v[0].bo(PAGE, 0, 0));
    err!(v[1].close(b + 1000), EINVAL);
    err!(v[1].offset(b), ENOENT);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        layout,
        name_and_version,
        capabilities,
        render_node,
        syncobj,
        no_modeset,
        unknown_ioctl,
        bad_argument_pointer,
        short_argument,
        many_files,
    ])
}
