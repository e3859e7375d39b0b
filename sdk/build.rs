//! Hands the target triple to the code: a plugin's descriptor names it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=IGGY_CONNECTOR_TARGET={target}");
}
