//! Every scenario of the table on both programs. `cargo run -p hostel-compat -- GLOB` runs some of them, with more to see.

#[test]
fn scenarios() {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_hostel-compat")).output().expect("run hostel-compat");
    print!("{}", String::from_utf8_lossy(&out.stdout));
    eprint!("{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "outcomes differ, or the ledger lists what does not");
}
