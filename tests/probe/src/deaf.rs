//! A file system that never answers a lookup, under an overlay on a directory: whoever looks for a file there waits for ever.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

/// Operations of fuse(4), and the errors given.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;

fn mount(source: &str, target: &str, kind: &str, data: &str) -> Result<(), String> {
    let [source, place, name, options] = [source, target, kind, data].map(|t| CString::new(t).expect("no NUL"));
    // SAFETY: four strings that end with NUL.
    let result = unsafe { libc::mount(source.as_ptr(), place.as_ptr(), name.as_ptr(), 0, options.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(format!("mount {kind} on {target}: {}", std::io::Error::last_os_error())) }
}

/// Makes a directory deaf; the server goes on in a thread.
pub fn make(place: &str) -> Result<(), String> {
    let failed = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    for dir in ["/tmp/deaf", "/tmp/below"] {
        std::fs::create_dir_all(dir).map_err(failed("make directory"))?;
    }
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(failed("open /dev/fuse"))?;
    mount("deaf", "/tmp/deaf", "fuse", &format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd()))?;
    std::thread::spawn(move || serve(device));
    mount("overlay", place, "overlay", "lowerdir=/tmp/deaf:/tmp/below")
}

fn serve(mut device: File) {
    let mut request = vec![0u8; 1 << 20];
    while let Ok(size) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        if size < 40 {
            continue;
        }
        let unique = request[8..16].to_vec();
        let answer: Result<Vec<u8>, i32> = match word(4) {
            LOOKUP | FORGET | BATCH_FORGET => continue,
            INIT => {
                let mut out = vec![0u8; 64];
                out[0..4].copy_from_slice(&7u32.to_ne_bytes());
                out[4..8].copy_from_slice(&31u32.to_ne_bytes());
                // max_write
                out[20..24].copy_from_slice(&4096u32.to_ne_bytes());
                Ok(out)
            }
            GETATTR => {
                let mut out = vec![0u8; 16 + 88];
                out[0..8].copy_from_slice(&1000u64.to_ne_bytes());
                // inode, mode, links
                out[16..24].copy_from_slice(&1u64.to_ne_bytes());
                out[16 + 60..16 + 64].copy_from_slice(&0o40755u32.to_ne_bytes());
                out[16 + 64..16 + 68].copy_from_slice(&2u32.to_ne_bytes());
                Ok(out)
            }
            STATFS => {
                let mut out = vec![0u8; 80];
                // block size, longest name, fragment size
                out[40..44].copy_from_slice(&4096u32.to_ne_bytes());
                out[44..48].copy_from_slice(&255u32.to_ne_bytes());
                out[48..52].copy_from_slice(&4096u32.to_ne_bytes());
                Ok(out)
            }
            _ => Err(-libc::ENOSYS),
        };
        let (error, body) = answer.map_or_else(|e| (e, Vec::new()), |body| (0, body));
        let mut reply = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        reply.extend(error.to_ne_bytes());
        reply.extend(unique);
        reply.extend(body);
        let _ = device.write_all(&reply);
    }
}
