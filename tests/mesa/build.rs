// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Compiles `shaders/*.wgsl` to SPIR-V, `$OUT_DIR/NAME.spv`.

use naga::back::spv;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn compile(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("a shader that can be read");
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&text, path)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        ..Default::default()
    };
    spv::write_vec(&module, &info, &options, None)
        .expect("SPIR-V")
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for entry in fs::read_dir("shaders").expect("shaders/") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_owned();
        fs::write(out.join(name).with_extension("spv"), compile(&path)).expect("a file");
    }
}
