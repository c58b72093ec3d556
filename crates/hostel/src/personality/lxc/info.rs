//! lxc-info: what is known of one container.

use hostel_container::{Container, State};

use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-info",
    synopsis: "-n NAME [-cipsSH]",
    about: "show what is known of a container",
    named: true,
    options: &[
        row("c", "config", "KEY", "a key of the configuration that it was started with"),
        row("i", "ips", "", "its addresses"),
        row("p", "pid", "", "pid of its init"),
        row("S", "stats", "", "what it uses"),
        row("H", "no-humanize", "", "bare numbers; of one thing alone the value alone"),
        row("s", "state", "", "its state"),
    ],
    run,
};

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ => {
            let unit = (bytes.ilog2() / 10).min(4);
            format!("{:.2} {}iB", bytes as f64 / (1u64 << (unit * 10)) as f64, ["", "K", "M", "G", "T"][unit as usize])
        }
    }
}

/// The first of these cgroup items that is a number.
pub(super) fn first_number(container: &Container, items: &[&str]) -> Option<u64> {
    items.iter().find_map(|item| container.get_cgroup_item(item).ok()?.trim().parse().ok())
}

/// Nanoseconds of the processors.
pub(super) fn cpu(container: &Container) -> Option<u64> {
    let unified = || {
        let text = container.get_cgroup_item("cpu.stat").ok()?;
        text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok()).map(|micro| micro * 1000)
    };
    first_number(container, &["cpuacct.usage"]).or_else(unified)
}

/// Bytes from and to disks.
pub(super) fn disk(container: &Container) -> Option<u64> {
    if let Ok(text) = container.get_cgroup_item("blkio.throttle.io_service_bytes") {
        return text.lines().find_map(|line| line.strip_prefix("Total ")?.parse().ok());
    }
    let text = container.get_cgroup_item("io.stat").ok()?;
    let word = |word: &str| word.strip_prefix("rbytes=").or(word.strip_prefix("wbytes="))?.parse::<u64>().ok();
    Some(text.split_ascii_whitespace().filter_map(word).sum())
}

/// Lines of a name and a value.
struct Sheet {
    raw: bool,
    /// One thing alone, and bare: values without names.
    bare: bool,
    out: String,
}

impl Sheet {
    fn line(&mut self, name: &str, value: &str) {
        let value = output::clean(value);
        self.out.push_str(&if self.bare { format!("{value}\n") } else { format!("{name:<15} {value}\n") });
    }
    fn size(&mut self, name: &str, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.line(name, &if self.raw { bytes.to_string() } else { size(bytes) });
        }
    }

    fn stats(&mut self, container: &Container) {
        if let Some(nanoseconds) = cpu(container) {
            self.line("CPU use:", &if self.raw { nanoseconds.to_string() } else { format!("{:.2} seconds", nanoseconds as f64 / 1e9) });
        }
        self.size("BlkIO use:", disk(container));
        self.size("Memory use:", first_number(container, &["memory.usage_in_bytes", "memory.current"]));
        self.size("KMem use:", first_number(container, &["memory.kmem.usage_in_bytes"]));
        for n in 0..256 {
            let item = |end: &str| container.get_running_config_item(&format!("lxc.net.{n}.{end}")).ok().flatten();
            let Some(kind) = item("type") else { break };
            let Some(link) = item(if kind == "veth" { "veth.pair" } else { "link" }) else { continue };
            self.line("Link:", &link);
            let counter = |name: &str| std::fs::read_to_string(format!("/sys/class/net/{link}/statistics/{name}")).ok()?.trim().parse::<u64>().ok();
            // What the host's end receives, the container sent.
            let (sent, received) = (counter("rx_bytes"), counter("tx_bytes"));
            self.size(" TX bytes:", sent);
            self.size(" RX bytes:", received);
            self.size(" Total bytes:", sent.zip(received).map(|(sent, received)| sent + received));
        }
    }
}

fn run(call: &Call) -> Outcome {
    let container = call.running()?;
    let state = container.state();
    let running = !matches!(state, Ok(State::Stopped));
    if !running && !container.is_defined() {
        return Err(failure(format!("{} doesn't exist", call.name)));
    }
    let asked = ["config", "ips", "pid", "stats", "state"].iter().map(|long| call.values(long).count()).sum::<usize>();
    let raw = call.has("no-humanize");
    let mut sheet = Sheet { raw, bare: raw && asked == 1, out: String::new() };
    let wants = |long: &str| asked == 0 || call.has(long);
    if asked == 0 {
        sheet.line("Name:", &container.name);
    }
    if wants("state") {
        sheet.line("State:", state.map_or("INVALID STATE", State::name));
    }
    if wants("pid")
        && running
        && let Ok(pid) = container.init_pid()
    {
        sheet.line("PID:", &pid.to_string());
    }
    if wants("ips") && running {
        for address in container.get_ips(None, None, 0).unwrap_or_default() {
            sheet.line("IP:", &address);
        }
    }
    if wants("stats") && running {
        sheet.stats(&container);
    }
    for key in call.values("config") {
        let value = if running { container.get_running_config_item(key) } else { container.get_config_item(key).map(Some) };
        match value {
            Ok(Some(value)) if sheet.bare => sheet.out.push_str(&format!("{value}\n")),
            Ok(Some(value)) => sheet.out.push_str(&format!("{key} = {value}\n")),
            Ok(None) | Err(_) => call.tell(&failure(format!("{key} invalid"))),
        }
    }
    Ok(output::show(&sheet.out))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        let shown = [0, 1023, 1024, 757_760, 20 << 20, 3 << 40].map(size);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.00 KiB", "740.00 KiB", "20.00 MiB", "3.00 TiB"]);
    }
}
