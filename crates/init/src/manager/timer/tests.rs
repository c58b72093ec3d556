use super::*;
use crate::testing::Tree;

fn timer(text: &str) -> Timer {
    let tree = Tree::new("manager-timer");
    tree.unit("a.timer", &format!("[Timer]\n{text}\n"));
    let unit = tree.load("a.timer");
    assert!(unit.is_loaded(), "{:?}", unit.state);
    Timer::new(&unit)
}

/// Seconds until the next moments, by the even clock and by the calendar's.
fn next(timer: &mut Timer, view: &View) -> (Option<u64>, Option<u64>, bool) {
    let waits = timer.look(view, &mut Zones::default(), Duration::ZERO);
    let even = timer.next_even.zip(view.now.even).map(|(at, now)| at.duration_since(now).as_secs());
    let real = timer.next_real.map(|at| at.duration_since(view.now.real).map_or(0, |d| d.as_secs()));
    (even, real, waits)
}

#[test]
fn next_moments() {
    let began = Moment { real: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000), even: Some(Instant::now()) };
    let later = |secs: u64| Moment { real: began.real + Duration::from_secs(secs), even: began.even.map(|at| at + Duration::from_secs(secs)) };
    let view = |at: u64, started: u64| View { now: later(at), began, started: Some(later(started)), unit: (None, None), clock_was_set: false };
    // a span from the start of the timer, once
    let mut t = timer("OnActiveSec=30");
    assert_eq!(next(&mut t, &view(10, 5)), (Some(25), None, true));
    t.last = Some(later(35));
    assert_eq!(next(&mut t, &view(36, 5)), (None, None, false));
    // what is late is due at once
    let mut t = timer("OnBootSec=5");
    assert_eq!(next(&mut t, &view(10, 9)), (Some(0), None, true));
    // from the unit's own times, as often as they come
    let mut t = timer("OnUnitActiveSec=60\nOnBootSec=1");
    assert_eq!(next(&mut t, &view(0, 0)), (Some(1), None, true));
    t.last = Some(later(1));
    let mut v = view(5, 0);
    v.unit = (later(2).even, None);
    assert_eq!(next(&mut t, &v), (Some(57), None, true));
    // a unit that never ran
    let mut t = timer("OnUnitInactiveSec=60");
    assert_eq!(next(&mut t, &view(0, 0)), (None, None, false));
    // the calendar: 2001-09-09 01:46:40 UTC
    let mut t = timer("OnCalendar=*-*-* 02:00:00 UTC\nOnCalendar=*-*-* 01:47:00 UTC");
    assert_eq!(next(&mut t, &view(0, 0)), (None, Some(20), true));
    // what was missed before this boot is made up for
    t.last = Some(Moment { real: began.real - Duration::from_secs(200_000), even: None });
    assert_eq!(next(&mut t, &view(5, 5)), (None, Some(0), true));
    // what was done since is not done again
    t.last = Some(later(21));
    assert_eq!(next(&mut t, &view(21, 0)), (None, Some(13 * 60 - 1), true));
    // a list that is taken back
    assert_eq!(timer("OnCalendar=daily\nOnCalendar=\nOnActiveSec=1").config.wishes.len(), 1);
    let mut t = timer("OnClockChange=yes");
    assert_eq!(next(&mut t, &view(0, 0)), (None, None, true));
}
