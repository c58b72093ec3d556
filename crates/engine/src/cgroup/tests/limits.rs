//! Which text goes into which file, on v2 and on v1.

use hostel_spec::{CpuQuota, Limit, Resources};

use super::super::error::CgroupError;
use super::super::layout::Controller;
use super::super::limits::{Amounts, controllers, option_of, relative, writes};

const HOST: Amounts = Amounts { memory: 1_000_000, swap: 500_000, tasks: 32_768 };

fn lines(resources: &Resources, v1: bool) -> Result<Vec<String>, CgroupError> {
    let list = writes(resources, HOST, |_| v1)?;
    Ok(list.into_iter().map(|w| format!("{}={}", w.file, w.value)).collect())
}

fn resources(set: impl FnOnce(&mut Resources)) -> Resources {
    let mut resources = Resources::default();
    set(&mut resources);
    resources
}

#[test]
fn values() {
    let all = resources(|r| {
        r.memory_max = Some(Limit::Value(4096));
        r.memory_swap_max = Some(Limit::Value(1000));
        r.tasks_max = Some(Limit::Permyriad(5_000));
        r.cpu_quota = Some(CpuQuota(1_500_000));
        r.cpu_weight = Some(200);
        r.allowed_cpus = Some(vec![3, 1, 2, 7, 1]);
        r.io_weight = Some(100);
    });
    assert_eq!(
        lines(&all, false).unwrap(),
        [
            "memory.max=4096",
            "memory.swap.max=1000",
            "pids.max=16384",
            "cpu.max=150000 100000",
            "cpu.weight=200",
            "cpuset.cpus=1-3,7",
            "io.weight=default 100"
        ]
    );
    assert_eq!(
        lines(&all, true).unwrap(),
        [
            "memory.limit_in_bytes=4096",
            "memory.memsw.limit_in_bytes=5096",
            "pids.max=16384",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=150000",
            "cpu.shares=2048",
            "cpuset.cpus=1-3,7",
            "blkio.weight=500"
        ]
    );
}

#[test]
fn protections_and_shares_of_the_host() {
    let r = resources(|r| {
        r.memory_min = Some(Limit::Infinity);
        r.memory_low = Some(Limit::Permyriad(1));
        r.memory_high = Some(Limit::Permyriad(2_500));
        r.memory_max = Some(Limit::Permyriad(10_000));
        r.memory_swap_max = Some(Limit::Permyriad(1_000));
    });
    assert!(relative(&r));
    assert_eq!(lines(&r, false).unwrap(), ["memory.min=max", "memory.low=100", "memory.high=250000", "memory.max=1000000", "memory.swap.max=50000"]);
    assert!(!relative(&resources(|r| r.memory_max = Some(Limit::Value(1)))));
}

#[test]
fn infinity_needs_no_controller() {
    let r = resources(|r| {
        r.memory_max = Some(Limit::Infinity);
        r.memory_high = Some(Limit::Infinity);
        r.memory_swap_max = Some(Limit::Infinity);
        r.tasks_max = Some(Limit::Infinity);
    });
    assert_eq!(controllers(&r), []);
    assert_eq!(lines(&r, false).unwrap(), Vec::<String>::new());
    assert_eq!(lines(&r, true).unwrap(), Vec::<String>::new());
    assert_eq!(controllers(&Resources::default()), []);
    assert_eq!(controllers(&resources(|r| r.memory_low = Some(Limit::Infinity))), [Controller::Memory]);
}

#[test]
fn quotas_keep_to_the_kernels_bounds() {
    // (µs per second, period, what cpu.max says)
    let table = [
        (1_000_000, None, "100000 100000"),
        (500_000, Some(10_000), "5000 10000"),
        (5_000, None, "1000 200000"),
        (10, None, "1000 1000000"),
        (8_000_000, Some(1_000_000), "8000000 1000000"),
    ];
    for (quota, period, text) in table {
        let r = resources(|r| {
            r.cpu_quota = Some(CpuQuota(quota));
            r.cpu_period_us = period;
        });
        assert_eq!(lines(&r, false).unwrap(), [format!("cpu.max={text}")], "{quota} {period:?}");
    }
}

#[test]
fn io_weights() {
    for (weight, default, bfq, blkio) in [(1, "default 1", "1", "10"), (100, "default 100", "100", "500"), (10_000, "default 10000", "1000", "1000")]
    {
        let r = resources(|r| r.io_weight = Some(weight));
        let on = |v1| writes(&r, HOST, |_| v1).unwrap().remove(0);
        assert_eq!((on(false).value.as_str(), on(false).instead), (default, Some(("io.bfq.weight", bfq.to_owned()))));
        assert_eq!((on(true).value.as_str(), on(true).instead), (blkio, Some(("blkio.bfq.weight", bfq.to_owned()))));
    }
}

#[test]
fn io_rates() {
    let given = [("rbps", "8:0 1000"), ("wiops", "8:16 7")];
    let r = resources(|r| r.io_max = given.map(|(key, text)| (key.to_owned(), text.to_owned())).to_vec());
    assert_eq!(lines(&r, false).unwrap(), ["io.max=8:0 rbps=1000", "io.max=8:16 wiops=7"]);
    assert_eq!(lines(&r, true).unwrap(), ["blkio.throttle.read_bps_device=8:0 1000", "blkio.throttle.write_iops_device=8:16 7"]);
    assert_eq!((controllers(&r), option_of(&r, Controller::Io)), (vec![Controller::Io], "IOReadBandwidthMax="));
    assert!(lines(&resources(|r| r.io_max = vec![("rbps".into(), "8:0".into())]), false).is_err());
}

#[test]
fn refusals() {
    type Set = fn(&mut Resources);
    let table: [(Set, bool, &str); 13] = [
        (|r| r.memory_high = Some(Limit::Value(1)), true, "set MemoryHigh=: this host has the memory controller on cgroup v1"),
        (|r| r.memory_low = Some(Limit::Value(1)), true, "set MemoryLow=: this host"),
        (|r| r.memory_min = Some(Limit::Infinity), true, "set MemoryMin=: this host"),
        (|r| r.memory_swap_max = Some(Limit::Value(1)), true, "set MemorySwapMax=: cgroup v1 limits swap only together with memory"),
        (|r| r.memory_max = Some(Limit::Permyriad(10_001)), false, "set MemoryMax=: it is more than 100 %"),
        (|r| r.tasks_max = Some(Limit::Value(0)), false, "set TasksMax=: a machine needs at least 1 task"),
        (|r| r.cpu_quota = Some(CpuQuota(0)), false, "set CPUQuota=: it must be more than 0"),
        (
            |r| {
                r.cpu_quota = Some(CpuQuota(1));
                r.cpu_period_us = Some(999);
            },
            true,
            "set CPUQuotaPeriodSec=: it must be from 1 ms to 1 s",
        ),
        (|r| r.cpu_weight = Some(0), true, "set CPUWeight=: it must be from 1 to 10000"),
        (|r| r.cpu_weight = Some(10_001), false, "set CPUWeight=: it must be"),
        (|r| r.io_weight = Some(u64::MAX), false, "set IOWeight=: it must be"),
        (|r| r.allowed_cpus = Some(Vec::new()), false, "set AllowedCPUs=: no CPU is named"),
        (|r| r.memory_high = Some(Limit::Permyriad(u32::MAX)), false, "set MemoryHigh=: it is more"),
    ];
    for (set, v1, message) in table {
        let err = lines(&resources(set), v1).unwrap_err().to_string();
        assert!(err.starts_with(message), "{err}");
    }
    // The largest numbers are no reason to panic.
    let most = resources(|r| {
        r.memory_max = Some(Limit::Value(u64::MAX));
        r.memory_swap_max = Some(Limit::Value(u64::MAX));
        r.cpu_quota = Some(CpuQuota(u64::MAX));
        r.cpu_period_us = Some(1_000_000);
        r.allowed_cpus = Some(vec![u32::MAX, u32::MAX - 1]);
    });
    assert!(lines(&most, true).is_ok() && lines(&most, false).is_ok());
}
