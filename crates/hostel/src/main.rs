//! hostel.
fn main() {}
