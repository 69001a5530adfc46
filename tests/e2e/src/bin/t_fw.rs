// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The firmware: found, loaded, started, stopped; and images that cannot be used.

use e2e::model::Model;
use e2e::sysfs::Bound;
use e2e::uapi::*;
use e2e::*;
use std::path::{Path, PathBuf};

/// Where the image for a G610 is.
const IMAGE: &str = "/lib/firmware/arm/mali/arch10.8/mali_csffw.bin";

/// What the model says of its microcontroller: "running", "disabled" and so on.
fn mcu() -> Res<String> {
    let answer = Model::need()?.ask("mcu")?;
    let words = answer.first().map(|line| line.split(' ').nth(1));
    words
        .flatten()
        .map(str::to_lowercase)
        .ok_or_else(|| format!("mcu: {answer:?}").into())
}

/// The kernel log, from its newest line on that has `from`.
fn log_since(from: &str) -> Res<String> {
    let out = ok!(std::process::Command::new("dmesg").output());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let start = text
        .rfind(from)
        .ok_or_else(|| format!("no {from} in the log"))?;
    Ok(text[start..].to_owned())
}

/// A note in the kernel log, for [`log_since`].
fn mark(what: &str) -> Res<String> {
    let text = format!("t_fw: {what} {}", std::process::id());
    ok!(std::fs::write("/dev/kmsg", &text));
    Ok(text)
}

/// The image, which comes back when this is dropped.
struct Image {
    good: Vec<u8>,
    path: PathBuf,
}

impl Image {
    fn take() -> Res<Image> {
        let path = PathBuf::from(IMAGE);
        Ok(Image {
            good: ok!(std::fs::read(&path)),
            path,
        })
    }

    /// Replaces it by other bytes, or by nothing.
    fn put(&self, bytes: Option<&[u8]>) -> Res {
        match bytes {
            Some(bytes) => ok!(std::fs::write(&self.path, bytes)),
            None => ok!(std::fs::remove_file(&self.path)),
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.path, &self.good);
    }
}

/// DEV_QUERY says what the firmware has said.
fn csif_info() -> Res {
    let d = ok!(Dev::open());
    let mut c = [0u32; 6];
    ok!(d.query(QUERY_CSIF_INFO, &mut c));
    eq!(c, [8, 8, 96, 8, 4, 0]);
    Ok(())
}

/// The microcontroller runs while the driver is bound, and not after; again and again.
fn starts_and_stops() -> Res {
    ktap::only_rust("no power management")?;
    let b = Bound::new()?;
    for _ in 0..5 {
        eq!(mcu()?, "running");
        b.unbind()?;
        eq!(mcu()?, "disabled");
        b.bind()?;
    }
    eq!(mcu()?, "running");
    csif_info()
}

/// It halts before it is switched off: what it has in its caches is written back.
fn halts() -> Res {
    ktap::only_rust("no power management")?;
    let halts = || -> Res<u64> {
        let lines = Model::need()?.ask("counters")?;
        let halt = lines.iter().find_map(|line| {
            let (count, name) = line.split_once(' ')?;
            (name == "mcu-halts").then(|| count.parse().ok())?
        });
        Ok(halt.unwrap_or(0))
    };
    let before = halts()?;
    let b = Bound::new()?;
    b.unbind()?;
    b.bind()?;
    eq!(halts()?, before + 1);
    Ok(())
}

/// Tries to bind with an image, which must fail, with a message; and then with the good one.
fn refused(what: &str, bytes: Option<&[u8]>, says: &[&str]) -> Res {
    let b = Bound::new()?;
    let image = Image::take()?;
    b.unbind()?;
    image.put(bytes)?;
    let from = mark(what)?;
    let dev = b.0.clone();
    let result = sysfs::bind(&dev);
    check!(result.is_err(), "{what}: bound");
    check!(drm::nodes().is_empty(), "{what}: a node is left");
    check!(
        !Path::new(sysfs::DRIVER).join(&dev).exists(),
        "{what}: still bound"
    );
    let log = log_since(&from)?;
    for text in says {
        check!(log.contains(text), "{what}: no {text:?} in {log}");
    }
    eq!(mcu()?, "disabled");
    drop(image);
    b.bind()?;
    eq!(mcu()?, "running");
    csif_info()
}

fn missing() -> Res {
    ktap::only_rust("other messages")?;
    refused(
        "missing image",
        None,
        &["arm/mali/arch10.8/mali_csffw.bin", "firmware-misc-nonfree"],
    )
}

fn bad_images() -> Res {
    ktap::only_rust("other messages")?;
    let good = ok!(std::fs::read(IMAGE));
    let with = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let bad = "Bad firmware image";
    refused("empty image", Some(&[]), &[])?;
    refused("short image", Some(&good[..16]), &[bad, "header"])?;
    refused("no firmware", Some(&with(0, 7)), &[bad, "no firmware"])?;
    refused("cut image", Some(&good[..64]), &[bad])?;
    refused("version 1", Some(&with(4, 0x100)), &[bad, "version"])?;
    // The first section, and its data, which would be read from behind the file.
    refused("flags", Some(&with(24, 1 << 29)), &[bad, "flags"])?;
    refused("data", Some(&with(40, u32::MAX)), &[bad, "data"])?;
    refused("overlap", Some(&with(32, 0x0500_0000)), &[bad, "overlap"])
}

/// Somebody binds and unbinds while it cannot start, many times: nothing is left.
fn again_and_again() -> Res {
    ktap::only_rust("other messages")?;
    let b = Bound::new()?;
    let image = Image::take()?;
    b.unbind()?;
    image.put(Some(&image.good[..200]))?;
    let dev = b.0.clone();
    for _ in 0..20 {
        check!(sysfs::bind(&dev).is_err());
    }
    drop(image);
    b.bind()
}

/// It starts, and then does not do what it is asked for: the driver says so, waits for it once, and is
/// bound when it does.
fn does_not_answer() -> Res {
    ktap::only_rust("other messages")?;
    let b = Bound::new()?;
    let dev = b.0.clone();
    // All that is asked for, or one bit of it.
    for bits in ["0xffffffff", "0x100", "0x4"] {
        b.unbind()?;
        Model::need()?.ask(&format!("inject no-ack global {bits} always"))?;
        let from = mark(bits)?;
        let start = std::time::Instant::now();
        let result = sysfs::bind(&dev);
        let took = start.elapsed();
        Model::need()?.ask("inject clear")?;
        check!(result.is_err(), "{bits}: bound");
        note!("{bits}: refused in {took:?}");
        check!(
            took < std::time::Duration::from_secs(20),
            "{bits}: {took:?}"
        );
        let log = log_since(&from)?;
        check!(log.contains("does not answer"), "{bits}: {log}");
        check!(drm::nodes().is_empty(), "{bits}: a node is left");
        eq!(mcu()?, "disabled");
        b.bind()?;
        eq!(mcu()?, "running");
        csif_info()?;
    }
    Ok(())
}

/// It dies while the driver is bound: unbinding does not wait for it for long, and it starts again.
fn dies() -> Res {
    ktap::only_rust("other messages")?;
    let b = Bound::new()?;
    for how in ["dead", "panic"] {
        Model::need()?.ask(&format!("inject mcu {how}"))?;
        let from = mark(how)?;
        let start = std::time::Instant::now();
        b.unbind()?;
        let took = start.elapsed();
        note!("{how}: unbound in {took:?}");
        check!(took < std::time::Duration::from_secs(20), "{how}: {took:?}");
        let log = log_since(&from)?;
        check!(log.contains("does not halt"), "{how}: {log}");
        eq!(mcu()?, "disabled");
        b.bind()?;
        eq!(mcu()?, "running");
        csif_info()?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(
        cases![limit 120; csif_info, starts_and_stops, halts, missing, bad_images, again_and_again,
            does_not_answer, dies],
    )
}
