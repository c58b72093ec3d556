//! What is told of units that are no services: the properties of sockets, timers and paths.

use std::time::{Instant, SystemTime};

use super::live::{Live, Plain};
use super::query::{Record, micros, yes};

/// Adds what is special to the unit's kind. Of several with one name each is one.
pub(super) fn add(live: &Live, out: &mut Record) {
    match &live.plain {
        Plain::Socket(socket) => {
            out.extend([
                ("Result", socket.result.word().to_owned()),
                ("Accept", yes(socket.config.accept)),
                ("NConnections", socket.connections.len().to_string()),
                ("NAccepted", socket.accepted.to_string()),
                ("NRefused", socket.refused.to_string()),
            ]);
            let listens = &socket.config.listens;
            out.push(("Listen", listens.iter().map(|(way, address)| format!("{address} ({})", way.word())).collect::<Vec<_>>().join(" ")));
            out.extend(listens.iter().map(|(way, address)| ("Port", format!("{}\t{address}", way.word()))));
        }
        Plain::Timer(timer) => {
            out.push(("Result", timer.result.word().to_owned()));
            let now = (Instant::now(), SystemTime::now());
            let even = timer.next_even.map(|at| now.1 + at.saturating_duration_since(now.0));
            let next = even.into_iter().chain(timer.next_real).min();
            out.push(("NextElapse", next.map_or_else(String::new, micros)));
            out.push(("NextElapseUSecRealtime", timer.next_real.map_or_else(String::new, micros)));
            out.push(("LastTriggerUSec", timer.last.map_or_else(String::new, |last| micros(last.real))));
        }
        Plain::Path(path) => {
            out.push(("Result", path.result.word().to_owned()));
            out.push(("Paths", path.spots.iter().map(|spot| format!("{} ({})", spot.path, spot.wish.key())).collect::<Vec<_>>().join(" ")));
            out.extend(path.spots.iter().map(|spot| ("Spot", format!("{}\t{}", spot.wish.key(), spot.path))));
        }
        Plain::Mount(mount) => {
            out.extend([("Result", mount.result.word().to_owned()), ("Where", mount.config.place.clone()), ("What", mount.config.what.clone())])
        }
        _ => {}
    }
}
