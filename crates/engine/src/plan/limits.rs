//! Resource limits of the payload: what PID 1 of a freshly booted kernel has, and what was asked for over it.

use hostel_spec::{MachineSpec, Rlimit, RlimitName};

use crate::host::Host;

/// The limits to set, asked-for ones over the defaults (spec/nspawn.md 1.16), so that none of the caller's reaches the machine. A bundle says its own.
pub(super) fn merged(spec: &MachineSpec, host: &Host) -> Vec<Rlimit> {
    if spec.bundle.is_some() {
        return spec.process.rlimits.clone();
    }
    const M: u64 = 1 << 20;
    let fixed = |name, soft, hard| Rlimit { name, soft, hard };
    let mut out = vec![
        fixed(RlimitName::Core, Some(0), None),
        fixed(RlimitName::Memlock, Some(8 * M), Some(8 * M)),
        fixed(RlimitName::Msgqueue, Some(819_200), Some(819_200)),
        fixed(RlimitName::Nice, Some(0), Some(0)),
        fixed(RlimitName::Rtprio, Some(0), Some(0)),
        fixed(RlimitName::Stack, Some(8 * M), None),
        fixed(RlimitName::Nofile, Some(1024), Some(524_288)),
    ];
    for name in [RlimitName::Cpu, RlimitName::Fsize, RlimitName::Data, RlimitName::Rss, RlimitName::As, RlimitName::Locks, RlimitName::Rttime] {
        out.push(fixed(name, None, None));
    }
    out.extend(host.init_limits.iter().copied());
    for asked in &spec.process.rlimits {
        out.retain(|l| l.name != asked.name);
        out.push(*asked);
    }
    out
}

/// What to say about limits that cannot be had; systemd-nspawn would refuse to start.
pub(super) fn notices(host: &Host) -> impl Iterator<Item = String> {
    host.low_limits.iter().map(|(name, most)| {
        format!("limit {} is lowered to {most}: raising it takes CAP_SYS_RESOURCE, which this process does not have", name.name())
    })
}
