//! Writes what was compiled into OUT_DIR: `kernels.rs` for `src/backend/cuda/images.rs`, and `kernels.tsv` for `tools/kernel-report`.

use crate::Result;
use crate::compile::Image;
use crate::nvcc::Nvcc;
use std::fmt::Write;
use std::path::Path;

pub struct Kernels {
    pub images: Vec<Image>,
    /// Which compiler made them; or why there are none.
    pub compiler: std::result::Result<Nvcc, String>,
}

impl Kernels {
    pub fn none(why: &str) -> Kernels {
        Kernels { images: Vec::new(), compiler: Err(why.to_string()) }
    }
}

/// The images are copied, so that a build does not depend on a cache that somebody may clear.
pub fn write(kernels: &Kernels, out_dir: &Path) -> Result<()> {
    for image in &kernels.images {
        let mut bytes = std::fs::read(&image.path).map_err(|error| format!("cannot read {}: {error}", image.path.display()))?;
        if image.target.is_ptx() {
            // The driver takes PTX as a C string.
            bytes.push(0);
        }
        write_file(&out_dir.join(file_name(image)), &bytes)?;
    }
    write_file(&out_dir.join("kernels.rs"), rust(kernels).as_bytes())?;
    write_file(&out_dir.join("kernels.tsv"), table(kernels).as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn file_name(image: &Image) -> String {
    format!("{}.{}.{}", image.module, image.target.code, image.target.extension())
}

fn rust(kernels: &Kernels) -> String {
    let compiler = kernels.compiler.as_ref().map(|nvcc| &nvcc.version);
    let mut text = format!("pub const COMPILER: Result<&str, &str> = {compiler:?};\n");
    text += "pub const TARGETS: &[&str] = &[";
    let mut targets = Vec::new();
    for image in &kernels.images {
        if !targets.contains(&image.target.code) {
            targets.push(image.target.code);
            let _ = write!(text, "{:?}, ", image.target.code);
        }
    }
    text += "];\npub static IMAGES: &[Image] = &[\n";
    for image in &kernels.images {
        let (module, target, file) = (&image.module, image.target.code, file_name(image));
        let bytes = format!("&Aligned(*include_bytes!(concat!(env!(\"OUT_DIR\"), {:?}))).0", format!("/{file}"));
        let _ = writeln!(text, "    Image {{ module: {module:?}, target: {target:?}, bytes: {bytes} }},");
    }
    text + "];\n"
}

/// module, target, image, log, compiler, path of nvcc.
fn table(kernels: &Kernels) -> String {
    let Ok(nvcc) = &kernels.compiler else { return String::new() };
    let row = |image: &Image| {
        let paths = [&image.path, &image.log, &nvcc.path].map(|path| path.display().to_string());
        let [path, log, nvcc_path] = paths;
        format!("{}\t{}\t{path}\t{log}\t{}\t{nvcc_path}\n", image.module, image.target.code, nvcc.version)
    };
    kernels.images.iter().map(row).collect()
}
