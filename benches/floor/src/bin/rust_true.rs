//! What any Rust program costs before its first line: the yardstick of `hostel --version`.
fn main() {}
