//! `lxc-start`: starts a container.

use std::ffi::OsString;
use std::process::ExitCode;

use hostel_lxc::Config;

use crate::cli::Failure;
use crate::lxc::start::{Order, background};

/// For now.
pub fn run(args: &[OsString]) -> ExitCode {
    match start(args) {
        Ok(status) => status.into(),
        Err(Failure::Engine(e)) => {
            crate::output::tell(format_args!("lxc-start: {e}"));
            1.into()
        }
        Err(e) => {
            crate::output::tell(format_args!("lxc-start: {e:?}"));
            1.into()
        }
    }
}

fn start(args: &[OsString]) -> Result<u8, Failure> {
    let text: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let [lxcpath, name, how] = &text[..] else { return Err(Failure::Usage("LXCPATH NAME HOW".into())) };
    let file = format!("{lxcpath}/{name}/config");
    let mut config = Config::default();
    let content = std::fs::read_to_string(&file).map_err(|e| Failure::Usage(e.to_string()))?;
    config.load(&file, &content, &mut crate::lxc::files::Host).map_err(|e| Failure::Usage(e.to_string()))?;
    let order = Order::of(lxcpath, name, &config);
    if how == "-F" {
        return Ok(crate::lxc::monitor::live(&order, false, &mut |_| {})?);
    }
    let pid = background(&order)?;
    println!("{pid}");
    Ok(0)
}
