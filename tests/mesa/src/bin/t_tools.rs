// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Debian's tools, unmodified: they end well, and say what they must.

use e2e::{cases, check, note, ok, Res};
use std::process::{Command, ExitCode, Stdio};

/// Runs a tool and gives what it printed.
fn run(tool: &str, args: &[&str]) -> Res<String> {
    let out = ok!(Command::new(tool)
        .args(args)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .output());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let end: Vec<String> = [text.as_str(), &String::from_utf8_lossy(&out.stderr)]
        .iter()
        .flat_map(|s| {
            s.lines()
                .rev()
                .take(12)
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
        })
        .collect();
    check!(
        out.status.success(),
        "{tool}: {}\n{}",
        out.status,
        end.join("\n")
    );
    Ok(text)
}

/// Each of the words stands in the text.
fn says(text: &str, words: &[&str]) -> Res {
    for word in words {
        check!(text.contains(word), "it does not say {word}");
    }
    Ok(())
}

fn vulkaninfo() -> Res {
    let text = run("vulkaninfo", &[])?;
    says(
        &text,
        &[
            "Mali-G610 MC4",
            "DRIVER_ID_MESA_PANVK",
            "VkPhysicalDeviceFeatures",
        ],
    )
}

fn eglinfo() -> Res {
    let text = run("eglinfo.aarch64-linux-gnu", &["-p", "surfaceless"])?;
    says(
        &text,
        &[
            "OpenGL ES profile renderer: Mali-G610 MC4 (Panfrost)",
            "OpenGL ES 3.1 Mesa",
        ],
    )
}

fn clinfo() -> Res {
    let text = run("clinfo", &[])?;
    says(
        &text,
        &[
            "rusticl",
            "Mali-G610 MC4 (Panfrost)",
            "Number of devices                                 1",
        ],
    )
}

/// One scene of vkmark to its end, without a window.
fn vkmark(scene: &str) -> Res {
    let scene = format!("{scene}:duration=2");
    let text = run(
        "vkmark",
        &["--winsys", "headless", "--size", "256x192", "-b", &scene],
    )?;
    check!(text.contains("vkmark Score"), "{text}");
    for line in text.lines().filter(|l| l.contains("FPS:")) {
        note!("{}", line.trim());
    }
    says(&text, &["Mali-G610 MC4", "FPS:"])
}

fn vkmark_clear() -> Res {
    vkmark("clear")
}
fn vkmark_cube() -> Res {
    vkmark("cube")
}
fn vkmark_desktop() -> Res {
    vkmark("desktop")
}
fn vkmark_effect2d() -> Res {
    vkmark("effect2d")
}
fn vkmark_shading() -> Res {
    vkmark("shading")
}
fn vkmark_texture() -> Res {
    vkmark("texture")
}
fn vkmark_vertex() -> Res {
    vkmark("vertex")
}

fn main() -> ExitCode {
    e2e::ktap::run(cases![limit 300;
        vulkaninfo, eglinfo, clinfo, vkmark_clear, vkmark_cube, vkmark_desktop, vkmark_effect2d,
        vkmark_shading, vkmark_texture, vkmark_vertex,
    ])
}
