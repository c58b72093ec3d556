//! A network of a test's own, so that nothing of this machine's is changed: a host, and somebody outside.
//!
//! ```text
//!   outside  192.0.2.2 ── 192.0.2.1  host (default route to outside)      both are namespaces
//! ```

use std::fmt::Write as _;

use crate::{Bed, Invocation, Outcome, Running};

/// The two namespaces; they end with this.
pub struct Wires {
    host: Running,
    outside: Running,
}

fn namespace(options: &[&str]) -> Running {
    let running = Invocation::new("unshare").args(options).args(["sh", "-c", "ip link set lo up && echo up && exec sleep 1000"]).start();
    running.expect("up");
    running
}

impl Wires {
    /// Makes them; `None`, with the reason printed, where network namespaces cannot be had.
    pub fn start() -> Option<Wires> {
        if Invocation::new("unshare").args(["-mn", "true"]).run().code != Some(0) {
            println!("skipped: no network namespaces here");
            return None;
        }
        // The test's own mounts come along, those made in here do not come out.
        let wires = Wires { host: namespace(&["-mn", "--propagation", "slave"]), outside: namespace(&["-n"]) };
        let mut script = String::new();
        let _ = writeln!(script, "ip link add up0 type veth peer name out0 netns {}", wires.outside.pid());
        script.push_str("ip addr add 192.0.2.1/24 dev up0 && ip link set up0 up && ip route add default via 192.0.2.2\n");
        wires.sh(&script).exits(0);
        wires.outside("ip addr add 192.0.2.2/24 dev out0 && ip link set out0 up").exits(0);
        Some(wires)
    }

    /// The command line in the host's namespace.
    pub fn run(&self, invocation: Invocation) -> Invocation {
        invocation.through_shell(&format!("exec nsenter -t {} -m -n --wd=. \"$@\"", self.host.pid()))
    }

    /// A script in the host's namespace.
    pub fn sh(&self, script: &str) -> Outcome {
        self.run(Invocation::new("sh").args(["-c", script])).run()
    }

    /// A script outside.
    pub fn outside(&self, script: &str) -> Outcome {
        Invocation::new("nsenter").args(["-t", &self.outside.pid().to_string(), "-n", "sh", "-c", script]).run()
    }

    /// A command outside that goes on.
    pub fn outside_starts(&self, script: &str) -> Running {
        Invocation::new("nsenter").args(["-t", &self.outside.pid().to_string(), "-n", "sh", "-c", script]).start()
    }

    /// Process whose namespaces are the host's.
    pub fn host_pid(&self) -> u32 {
        self.host.pid()
    }

    /// What the host's network is: interfaces, addresses, routes, forwarding, nftables.
    pub fn picture(&self) -> String {
        let script = "ip -o link | sed -E 's/^[0-9]+: //; s/@\\S+//; s/ (<|mtu).*//' | sort; ip -o -4 addr | sed -E 's/^[0-9]+: //; s/ +/ /g'; ip -4 route; \
                      ip -o -6 addr show scope global | sed -E 's/^[0-9]+: //; s/ +/ /g; s/ (valid_lft|tentative|expires).*//'; ip -6 route | grep -v fe80: | sed 's/ expires.*//'; \
                      grep . /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/up0/accept_ra /proc/sys/net/ipv4/conf/up0/forwarding /proc/sys/net/ipv4/ip_forward; nft list ruleset";
        self.sh(script).exits(0).text()
    }

    /// Waits until the host's network is as it was.
    #[track_caller]
    pub fn assert_back_to(&self, before: &str) {
        let mut now = String::new();
        let back = crate::eventually(std::time::Duration::from_secs(5), || {
            now = self.picture();
            now == before
        });
        assert!(back, "the host's network was\n{before}\nand is now\n{now}");
    }

    /// The first address of a machine, as `hostel ps` knows it; waits for it.
    #[track_caller]
    pub fn address_of(&self, bed: &Bed, name: &str) -> String {
        let mut found = String::new();
        crate::eventually(std::time::Duration::from_secs(40), || {
            let rows = self.run(bed.hostel(["ps", "--json"])).run().json();
            let row = rows.as_array().and_then(|r| r.iter().find(|m| m["name"] == name)).cloned().unwrap_or_default();
            found = row["addresses"][0].as_str().unwrap_or("").to_string();
            !found.is_empty()
        });
        assert!(!found.is_empty(), "{name} has no address");
        found
    }
}
