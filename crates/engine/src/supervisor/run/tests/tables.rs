//! The pure tables: exit statuses, the brake, the phases of a stop.

use super::*;

fn killed(signal: u8) -> End {
    End::Killed { signal, core: false }
}

#[test]
fn exit_table() {
    use Desired::{Off, On};
    use ExitDecision::{Exit, RebootAgain};
    use Payload::{Boot, Command, CommandAsPid2};
    #[rustfmt::skip]
    let table = [
        // nspawn.md 1.4, line by line
        (NSPAWN,     Command,       End::Exited(0),   On,  Exit(0)),
        (NSPAWN,     Command,       End::Exited(7),   On,  Exit(7)),
        (NSPAWN,     Command,       End::Exited(133), On,  Exit(1)),
        (KEEP_UNIT,  Boot,          End::Exited(133), On,  Exit(1)),
        (NSPAWN,     Boot,          killed(2),        On,  Exit(0)),
        (NSPAWN,     Command,       killed(2),        On,  Exit(0)),
        (KEEP_UNIT,  Boot,          killed(1),        On,  Exit(133)),
        (NSPAWN,     Boot,          killed(1),        On,  RebootAgain),
        (NSPAWN,     Command,       killed(9),        On,  Exit(1)),
        (NSPAWN,     Command,       killed(11),       On,  Exit(1)),
        (NSPAWN,     CommandAsPid2, End::Exited(255), On,  Exit(255)),
        (NSPAWN,     Command,       killed(9),        Off, Exit(1)),
        // what is wanted wins over how it answered
        (NSPAWN,     Boot,          killed(1),        Off, Exit(0)),
        (KEEP_UNIT,  Boot,          killed(1),        Off, Exit(0)),
        // native
        (NATIVE,     Command,       End::Exited(133), On,  Exit(133)),
        (NATIVE_133, Command,       End::Exited(133), On,  Exit(1)),
        (NATIVE,     Command,       killed(9),        On,  Exit(137)),
        (NATIVE,     Command,       killed(15),       On,  Exit(143)),
        (NATIVE,     Boot,          killed(2),        On,  Exit(0)),
        (NATIVE,     Boot,          killed(1),        On,  RebootAgain),
        (NATIVE_133, Boot,          killed(1),        On,  Exit(133)),
        (NATIVE_133, Boot,          killed(1),        Off, Exit(0)),
        (NATIVE,     Boot,          End::Exited(7),   On,  Exit(7)),
        (NATIVE,     CommandAsPid2, End::Exited(143), On,  Exit(143)),
    ];
    for (lifecycle, payload, end, desired, expected) in table {
        let outcome = Outcome { end, desired, killed_by_us: false, halted: false, timed_out: false, own_pid_namespace: true };
        assert_eq!(exit_status(&outcome, &lifecycle, payload), expected, "{lifecycle:?} {payload:?} {end:?} {desired:?}");
    }
    let shared = Outcome { end: killed(2), desired: On, killed_by_us: false, halted: false, timed_out: false, own_pid_namespace: false };
    assert_eq!(exit_status(&shared, &NATIVE, Command), Exit(130), "no reboot(2) without a pid namespace");
    assert_eq!(exit_status(&Outcome { end: killed(1), ..shared }, &NATIVE, Command), Exit(129));
    assert_eq!(exit_status(&shared, &NSPAWN, Command), Exit(0));
    for (lifecycle, status) in [(NSPAWN, 0), (NATIVE, 0)] {
        let halted = Outcome { end: killed(9), killed_by_us: true, halted: true, ..shared };
        assert_eq!(exit_status(&halted, &lifecycle, Boot), Exit(status));
    }
}

#[test]
fn brake() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut brake = RebootBrake::default();
    let allowed: Vec<bool> = [0, 100, 200, 300, 400, 500, 9_999, 10_000, 10_050, 10_100].map(|ms| brake.allow(at(ms))).into();
    assert_eq!(allowed, [true, true, true, true, true, false, false, true, false, true]);
}

#[test]
fn phases() {
    let start = Instant::now();
    // Steps of 100 ms; every question is answered "again after a second".
    let run = |timeout: Option<u64>, goal: Goal, until: u64| {
        let mut phase = Phase::Running;
        phase.ask(goal, timeout.map(Duration::from_millis), start);
        let mut seen = Vec::new();
        for ms in (0..=until).step_by(100) {
            let now = start + Duration::from_millis(ms);
            while let Some(due) = phase.due(now) {
                seen.push((ms, due));
                phase.asked(Next::AskAgain(Duration::from_secs(1)), now);
            }
            assert!(phase.deadline().is_none_or(|d| d > now), "{ms}");
        }
        (seen, phase)
    };
    let off = |round| Due::Ask(Goal::PowerOff, round);
    assert_eq!(
        run(Some(2000), Goal::PowerOff, 10_000),
        (vec![(0, off(0)), (1000, off(1)), (1500, Due::EndOthers), (2000, Due::Kill)], Phase::Killed)
    );
    assert_eq!(run(Some(0), Goal::PowerOff, 0), (vec![(0, Due::EndOthers), (0, Due::Kill)], Phase::Killed));
    let (seen, phase) = run(None, Goal::PowerOff, 60_000);
    assert!(seen.len() == 61 && matches!(phase, Phase::Asking { .. }), "for ever");
    let (seen, phase) = run(Some(100_000), Goal::PowerOff, 100_000);
    assert_eq!(seen[seen.len() - 2..], [(95_000, Due::EndOthers), (100_000, Due::Kill)]);
    assert_eq!(phase, Phase::Killed);
    let (seen, phase) = run(None, Goal::Reboot, 60_000);
    assert_eq!((seen.len(), phase), (5, Phase::Running), "a reboot is not asked for for ever");

    let mut phase = Phase::Running;
    phase.ask(Goal::PowerOff, None, start);
    let before = phase;
    phase.ask(Goal::Reboot, None, start);
    assert_eq!(phase, before, "a power-off stays one");
    phase.ask(Goal::PowerOff, Some(Duration::from_secs(4)), start);
    phase.ask(Goal::PowerOff, None, start);
    assert!(matches!(phase, Phase::Asking { limits: Some(_), .. }), "a limit stays");
}

// ---- the loop ----
