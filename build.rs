//! Records what the binary was built for. CUDA kernels will be compiled here once there are any.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=UNET_ENGINE_TARGET={target}");
}
