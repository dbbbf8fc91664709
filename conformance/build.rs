//! The scenarios are embedded: a file that comes or goes means a new build.

fn main() {
    println!("cargo:rerun-if-changed=../scenarios");
}
