// SPDX-License-Identifier: GPL-2.0 OR MIT
//! OpenGL ES on panfrost, without a window: a picture is cleared and read back.

use e2e::{cases, check, fail, ok, Fail, Res};
use glow::HasContext;
use khronos_egl as egl;
use mesa::differ;
use std::process::ExitCode;

type Egl = egl::DynamicInstance<egl::EGL1_5>;

/// EGL_PLATFORM_SURFACELESS_MESA.
const SURFACELESS: egl::Enum = 0x31dd;

/// A context without a surface, current in this thread.
fn context() -> Res<(Egl, glow::Context)> {
    // SAFETY: the library is Debian's.
    let egl = unsafe { ok!(Egl::load_required()) };
    // SAFETY: this platform has no native display.
    let display =
        unsafe { egl.get_platform_display(SURFACELESS, egl::DEFAULT_DISPLAY, &[egl::ATTRIB_NONE]) };
    let display = ok!(display);
    ok!(egl.initialize(display));
    ok!(egl.bind_api(egl::OPENGL_ES_API));
    let want = [
        egl::SURFACE_TYPE,
        egl::PBUFFER_BIT,
        egl::RENDERABLE_TYPE,
        egl::OPENGL_ES3_BIT,
        egl::NONE,
    ];
    let Some(config) = ok!(egl.choose_first_config(display, &want)) else {
        fail!("no EGL config for OpenGL ES 3");
    };
    let version = [egl::CONTEXT_CLIENT_VERSION, 3, egl::NONE];
    let context = ok!(egl.create_context(display, config, None, &version));
    ok!(egl.make_current(display, None, None, Some(context)));
    // SAFETY: the context is current.
    let gl = unsafe {
        glow::Context::from_loader_function(|name| {
            egl.get_proc_address(name)
                .map_or(std::ptr::null(), |f| f as *const _)
        })
    };
    Ok((egl, gl))
}

/// A framebuffer of one colour is cleared several times; the last colour is what is read.
fn clear() -> Res {
    const WIDTH: i32 = 80;
    const HEIGHT: i32 = 48;
    let (_egl, gl) = context()?;
    // SAFETY: the context is current in this thread, and the picture has room for what is read.
    let (renderer, data, error) = unsafe {
        let colour = gl.create_renderbuffer().map_err(Fail::Fail)?;
        gl.bind_renderbuffer(glow::RENDERBUFFER, Some(colour));
        gl.renderbuffer_storage(glow::RENDERBUFFER, glow::RGBA8, WIDTH, HEIGHT);
        let frame = gl.create_framebuffer().map_err(Fail::Fail)?;
        gl.bind_framebuffer(glow::FRAMEBUFFER, Some(frame));
        let (target, at) = (glow::FRAMEBUFFER, glow::COLOR_ATTACHMENT0);
        gl.framebuffer_renderbuffer(target, at, glow::RENDERBUFFER, Some(colour));
        check!(
            gl.check_framebuffer_status(glow::FRAMEBUFFER) == glow::FRAMEBUFFER_COMPLETE,
            "the framebuffer is not complete"
        );
        gl.viewport(0, 0, WIDTH, HEIGHT);
        for red in [0.0, 0.2] {
            gl.clear_color(red, 0.4, 0.6, 1.0);
            gl.clear(glow::COLOR_BUFFER_BIT);
            gl.finish();
        }
        let mut data = vec![0; (WIDTH * HEIGHT * 4) as usize];
        let pack = glow::PixelPackData::Slice(Some(&mut data));
        gl.read_pixels(0, 0, WIDTH, HEIGHT, glow::RGBA, glow::UNSIGNED_BYTE, pack);
        (
            gl.get_parameter_string(glow::RENDERER),
            data,
            gl.get_error(),
        )
    };
    check!(renderer.contains("Mali-G610"), "the renderer is {renderer}");
    check!(error == glow::NO_ERROR, "glGetError: {error:#x}");
    // Whole numbers: nothing to round.
    let want = [51, 102, 153, 255].repeat((WIDTH * HEIGHT) as usize);
    match differ(&data, &want) {
        None => Ok(()),
        Some(text) => fail!("{text}"),
    }
}

fn main() -> ExitCode {
    // The board writes the clear colours of linear pictures; Mesa's choice would be a compressed one.
    std::env::set_var("PAN_MESA_DEBUG", "linear");
    e2e::ktap::run(cases![limit 240; clear])
}
