//! What it costs, in microseconds: `cargo test -p hostel-engine --release cgroup::tests::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use hostel_spec::{Limit, MachineName, Resources};

use super::super::{Layout, MachineCgroup, Options};

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

#[test]
#[ignore = "prints, asserts nothing"]
fn create_and_remove() {
    if super::not_root("create_and_remove") {
        return;
    }
    let name = MachineName::new(format!("hostel-test-speed-{}", std::process::id())).unwrap();
    let plain = Resources::default();
    let limited = Resources { tasks_max: Some(Limit::Value(100)), memory_max: Some(Limit::Value(1 << 30)), ..Resources::default() };
    for (what, resources) in [("no limits", &plain), ("memory and tasks", &limited)] {
        for pause in [0, 60] {
            let mut times: [Vec<Duration>; 5] = Default::default();
            for _ in 0..if pause == 0 { 300 } else { 40 } {
                std::thread::sleep(Duration::from_millis(pause));
                let start = Instant::now();
                let layout = Layout::detect_for(resources).unwrap();
                times[0].push(start.elapsed());
                let start = Instant::now();
                let machine = MachineCgroup::create(&layout, &name, resources, Options::default()).unwrap();
                times[1].push(start.elapsed());
                let paths = machine.paths();
                let start = Instant::now();
                MachineCgroup::open_recorded(&paths).unwrap();
                times[4].push(start.elapsed());
                let start = Instant::now();
                machine.remove().unwrap();
                times[2].push(start.elapsed());
                let start = Instant::now();
                Layout::detect().unwrap();
                times[3].push(start.elapsed());
            }
            let [detect, create, remove, full, open] = times.map(median);
            println!("{what}, {pause} ms pause: detect_for {detect:.1}, create {create:.1}, remove {remove:.1} µs");
            println!("{what}, {pause} ms pause: detect {full:.1}, open_recorded {open:.1} µs");
        }
    }
}
