//! Included files, until the crate of containers has them.

use std::path::PathBuf;

pub(crate) struct Host;

impl hostel_lxc::Files for Host {
    fn read(&mut self, path: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut files = vec![PathBuf::from(path)];
        if let Ok(entries) = std::fs::read_dir(path) {
            files = entries.filter_map(|e| Some(e.ok()?.path())).filter(|f| f.extension().is_some_and(|e| e == "conf")).collect();
            files.sort();
        }
        files.iter().map(|f| Ok((f.display().to_string(), std::fs::read_to_string(f).map_err(|_| "it cannot be read")?))).collect()
    }
    fn digit(&mut self) -> u8 {
        hostel_engine::supervisor::random_u64() as u8
    }
}

pub(crate) fn init_pid(_lxcpath: &str, _name: &str) -> Option<i32> {
    None
}
