//! Who is connected, and who has to go when there is no room.
//!
//! What it promises: an overdue connection is closed soon; connections are bounded, in all and per address; at a bound, those on
//! which nothing has been asked for longest make room, so that a crowd of idle connections keeps no heartbeat out; a connection
//! with a request on it is never one of them. What it must not do: read or write.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Activity;
use super::options::HttpOptions;

/// How often all connections are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A connection that was used more recently than this is in use.
const IDLE_FOR: Duration = Duration::from_secs(1);
/// How many make room at once, because looking for them takes a look at all.
const MAKE_ROOM: usize = 128;
/// How long nobody is looked for after nobody was found.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// All connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Guests(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    all: BTreeMap<u64, Entry>,
    /// Of all, those that were told to go and are not gone yet. They take nobody's place.
    leaving: usize,
    by_address: BTreeMap<IpAddr, usize>,
    look_again_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    activity: Arc<Activity>,
    is_leaving: bool,
}

/// Whether a connection is let in.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It is.
    Welcome(Guest),
    /// It is, and so many idle ones were told to go.
    InPlaceOf(Guest, usize),
    /// Everybody else is busy.
    Full,
}

impl Guests {
    /// Counts a connection in until the guard is dropped.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        activity: &Arc<Activity>,
        (now, options): (Instant, &HttpOptions),
    ) -> Admitted {
        let mut book = self.book();
        if book.has_room(address, options) {
            return Admitted::Welcome(self.enter(&mut book, address, activity));
        }
        let told_to_go = book.make_room(address, (now, options));
        if !book.has_room(address, options) {
            return Admitted::Full;
        }
        Admitted::InPlaceOf(self.enter(&mut book, address, activity), told_to_go)
    }

    /// Closes what is overdue, until this is dropped. One look at all costs less than a timer for each.
    pub(super) async fn close_the_overdue(&self, options: &HttpOptions) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            self.book().all.values().for_each(|entry| entry.activity.close_if_overdue(options));
        }
    }

    fn enter(&self, book: &mut Book, address: IpAddr, activity: &Arc<Activity>) -> Guest {
        let number = book.next;
        book.next += 1;
        book.all.insert(number, Entry { address, activity: Arc::clone(activity), is_leaving: false });
        *book.by_address.entry(address).or_default() += 1;
        Guest { guests: self.clone(), number }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn has_room(&self, address: IpAddr, options: &HttpOptions) -> bool {
        self.all.len() - self.leaving < options.connections_max && !self.is_full(address, options)
    }

    fn is_full(&self, address: IpAddr, options: &HttpOptions) -> bool {
        self.by_address.get(&address).is_some_and(|here| *here >= options.connections_per_address_max)
    }

    /// Tells those to go on whose connections nothing was asked for longest; of the same address if that is full.
    fn make_room(&mut self, address: IpAddr, (now, options): (Instant, &HttpOptions)) -> usize {
        if self.look_again_at.is_some_and(|at| now < at) {
            return 0;
        }
        let only_here = self.is_full(address, options);
        let is_candidate = |entry: &Entry| !entry.is_leaving && (!only_here || entry.address == address);
        let candidates = self.all.iter().filter(|(_, entry)| is_candidate(entry));
        let idle = candidates.filter_map(|(number, entry)| Some((entry.activity.idle_for()?, *number)));
        let mut idle: Vec<_> = idle.filter(|(idle_for, _)| *idle_for >= IDLE_FOR).collect();
        idle.sort_unstable_by(|one, other| other.cmp(one));
        idle.truncate(MAKE_ROOM);
        self.look_again_at = idle.is_empty().then(|| now + LOOK_AGAIN_AFTER);
        for (_, number) in &idle {
            let entry = self.all.get_mut(number).expect("it was just looked at");
            entry.is_leaving = true;
            entry.activity.tell_to_go();
            self.leaving += 1;
            let address = entry.address;
            self.count_out(address);
        }
        idle.len()
    }

    fn leave(&mut self, number: u64) {
        match self.all.remove(&number) {
            Some(Entry { is_leaving: true, .. }) => self.leaving -= 1,
            Some(entry) => self.count_out(entry.address),
            None => {}
        }
    }

    fn count_out(&mut self, address: IpAddr) {
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// One connection, counted in unless it was told to go.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Guests,
    number: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.book().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    struct House {
        clock: Arc<ManualClock>,
        guests: Guests,
        options: HttpOptions,
    }

    impl House {
        fn new(connections_max: usize, connections_per_address_max: usize) -> Self {
            let options =
                HttpOptions { connections_max, connections_per_address_max, ..HttpOptions::default() };
            Self { clock: Arc::new(ManualClock::new(0)), guests: Guests::default(), options }
        }

        fn enter(&self, address: u8) -> (Arc<Activity>, Option<Guest>) {
            let activity = Activity::new(Arc::clone(&self.clock) as Arc<dyn Clock>);
            let admitted =
                self.guests.admit([127, 0, 0, address].into(), &activity, (self.clock.now(), &self.options));
            let guest = match admitted {
                Admitted::Welcome(guest) | Admitted::InPlaceOf(guest, _) => Some(guest),
                Admitted::Full => None,
            };
            (activity, guest)
        }
    }

    #[test]
    fn connections_are_bounded_in_all_and_per_address() {
        let house = House::new(3, 2);
        let (_, first) = house.enter(1);
        let (_, second) = house.enter(1);
        assert!(house.enter(1).1.is_none(), "a third connection of one address");
        let (_, third) = house.enter(2);
        assert!(house.enter(2).1.is_none(), "a fourth connection in all");
        drop(first);
        assert!(house.enter(1).1.is_some());
        drop((second, third));
        let book = house.guests.book();
        assert!(book.all.is_empty() && book.by_address.is_empty());
    }

    #[test]
    fn the_connection_on_which_nothing_was_asked_for_longest_makes_room_and_a_busy_one_never_does() {
        let house = House::new(2, 2);
        let (busy, _busy_guest) = house.enter(1);
        let _request = busy.serve();
        let (idle, idle_guest) = house.enter(1);
        assert!(house.enter(2).1.is_none(), "everybody was here just now");
        house.clock.advance(IDLE_FOR);
        let (_, newcomer) = house.enter(2);
        assert!(newcomer.is_some());
        assert!(idle.is_told_to_go() && !busy.is_told_to_go());
        assert_eq!(house.guests.book().leaving, 1);
        drop(idle_guest);
        let book = house.guests.book();
        assert_eq!((book.all.len(), book.leaving), (2, 0));
    }

    #[test]
    fn only_an_overdue_connection_is_closed_with_what_is_on_it() {
        let house = House::new(2, 2);
        let (overdue, _overdue_guest) = house.enter(1);
        let (busy, _busy_guest) = house.enter(1);
        let _request = busy.serve();
        house.clock.advance(2 * house.options.idle_timeout);
        overdue.close_if_overdue(&house.options);
        busy.close_if_overdue(&house.options);
        assert!(overdue.is_closed() && !busy.is_closed());
    }

    #[test]
    fn where_both_bounds_are_reached_nobody_else_has_to_go_for_an_address_that_has_its_share() {
        let house = House::new(2, 1);
        let (here, _here) = house.enter(1);
        let _request = here.serve();
        let (there, _there) = house.enter(2);
        house.clock.advance(IDLE_FOR);
        assert!(house.enter(1).1.is_none());
        assert!(!there.is_told_to_go());
    }

    #[test]
    fn an_address_that_is_full_makes_room_for_itself_alone() {
        let house = House::new(3, 1);
        let (here, _here) = house.enter(1);
        let (there, _there) = house.enter(2);
        house.clock.advance(IDLE_FOR);
        assert!(house.enter(1).1.is_some());
        assert!(here.is_told_to_go() && !there.is_told_to_go());
    }
}
