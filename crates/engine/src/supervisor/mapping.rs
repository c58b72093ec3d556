//! Devices that decrypt or verify: made by cryptsetup(8) and veritysetup(8), which know the formats and the keyrings.
//!
//! A mapped device is told to go with its last user as soon as it is ours, so a killed supervisor leaves none; what dies
//! in the moment between is in the undo journal.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hostel_spec::{RootHash, RootHashSignature};
use hostel_sys::block::LoopDevice;
use hostel_sys::mapper;
use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::launch::record;
use crate::error::{Context, Error, Result};
use crate::registry::{Claim, Undo};

/// A mapped device.
#[derive(Debug)]
pub(super) struct Mapping {
    name: String,
    node: OwnedFd,
    _under: Vec<LoopDevice>,
}

impl Mapping {
    pub(super) fn path(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }
    pub(super) fn node(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

/// A name no other machine's device has.
fn name(machine: &str, part: &str) -> String {
    format!("hostel-{machine}-{part}-{:08x}", super::random_u64() as u32)
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    if !Path::new("/run/udev/control").exists() {
        // Nobody would answer: the device nodes are made by the library then.
        command.env("DM_DISABLE_UDEV", "1");
    }
    command
}

/// The last line a program wrote, for a message.
pub(super) fn last_words(output: &Output) -> String {
    let text = [&output.stdout[..], b"\n", &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it does not say why");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn finish(name: String, under: Vec<LoopDevice>) -> Result<Mapping> {
    let path = format!("/dev/mapper/{name}");
    let node = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", path.clone());
    mapper::remove(&name).context("mark for removal", path)?;
    Ok(Mapping { name, node: node?, _under: under })
}

/// Asks for the passphrase on the terminal and decrypts a LUKS device.
pub(super) fn decrypt(program: &Path, machine: &str, part: &str, device: LoopDevice, read_only: bool, claim: &mut Claim) -> Result<Mapping> {
    let name = name(machine, part);
    record(claim, Undo::Mapping { name: name.clone() })?;
    let mut run = command(program);
    run.args(["open", "--type", "luks"]).args(read_only.then_some("--readonly")).arg(device.path()).arg(&name);
    let status = run.status().context("run", program.display().to_string())?;
    if !status.success() {
        return Err(Error::new("decrypt", format!("{part} of the image"), format!("cryptsetup failed ({status})")));
    }
    finish(name, vec![device])
}

/// What a device is verified with.
pub(super) struct Seal<'a> {
    pub(super) root_hash: &'a RootHash,
    pub(super) signature: Option<&'a RootHashSignature>,
    /// The root hash is trusted by itself, or need not be: a signature that the kernel does not know is no failure.
    pub(super) unsigned_will_do: bool,
}

/// Verifies `data` by its hash tree. Says so when the signature could not be checked and need not be.
pub(super) fn verify(
    program: &Path,
    machine: &str,
    part: &str,
    (data, hashes): (LoopDevice, LoopDevice),
    seal: &Seal<'_>,
    claim: &mut Claim,
) -> Result<(Mapping, Option<String>)> {
    let name = name(machine, part);
    record(claim, Undo::Mapping { name: name.clone() })?;
    let open = |signature: Option<&RootHashSignature>| -> Result<Output> {
        let mut run = command(program);
        run.args(["open", &data.path(), &name, &hashes.path(), &seal.root_hash.to_string()]).stdin(Stdio::null());
        match signature {
            None => {}
            Some(RootHashSignature::Path(file)) => drop(run.arg(format!("--root-hash-signature={}", file.display()))),
            Some(RootHashSignature::Bytes(bytes)) => {
                let memory = rustix::fs::memfd_create(c"root-hash-signature", MemfdFlags::CLOEXEC).context("make", "file for the signature")?;
                let mut file = File::from(memory);
                file.write_all(bytes).context("write", "signature of the root hash")?;
                run.arg("--root-hash-signature=/proc/self/fd/0").stdin(file);
            }
        }
        run.output().context("run", program.display().to_string())
    };
    let failed = |out: &Output| Error::new("verify", format!("{part} of the image"), format!("veritysetup: {}", last_words(out)));
    let out = open(seal.signature)?;
    let mut notice = None;
    if !out.status.success() {
        if seal.signature.is_none() || !seal.unsigned_will_do {
            return Err(failed(&out));
        }
        let again = open(None)?;
        if !again.status.success() {
            return Err(failed(&again));
        }
        notice = Some(format!("the kernel does not accept the signature of the root hash of {part} ({}); it is verified without", last_words(&out)));
    }
    Ok((finish(name, vec![data, hashes])?, notice))
}
