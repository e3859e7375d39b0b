//! Hands the target triple to the code: a plugin that was built for another one is refused.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=TARGET_TRIPLE={target}");
}
