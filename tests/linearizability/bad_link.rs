//! The bad link of the storms: frames are late by what the weather says, in order or not, once or twice, and memory ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::late::{Direction, FRAMES_MAX, LateFrames, Weather};

const HUNDRED_MS: Duration = Duration::from_millis(100);
const FORTY_MS: Duration = Duration::from_millis(40);
const FINE: Weather = Weather { delay: HUNDRED_MS, jitter: FORTY_MS, in_order: true, doubled_percent: 0 };

/// A frame that left: when, which way, and which one it was.
type Departure = (Instant, Direction, usize);

/// A thousand frames, one a millisecond, every third to the server; each leaves at the moment when it is due.
fn thousand_frames(weather: Weather, seed: u64) -> (Vec<Instant>, Vec<Departure>, LateFrames) {
    let mut link = LateFrames::new(weather, seed);
    let start = Instant::now();
    let arrivals: Vec<Instant> = (0..1_000).map(|number| start + Duration::from_millis(number)).collect();
    let mut departures = Vec::new();
    for (number, now) in arrivals.iter().enumerate() {
        leave_until(&mut link, *now, &mut departures);
        let direction = if number % 3 == 0 { Direction::ToServer } else { Direction::FromServer };
        link.take(*now, direction, number.to_be_bytes().to_vec());
    }
    leave_until(&mut link, start + Duration::from_secs(60), &mut departures);
    (arrivals, departures, link)
}

fn leave_until(link: &mut LateFrames, now: Instant, departures: &mut Vec<Departure>) {
    while let Some(due) = link.next_due().filter(|due| *due <= now) {
        let (direction, frame) = link.give(due).expect("it is due");
        departures.push((due, direction, usize::from_be_bytes(frame.try_into().unwrap())));
    }
}

fn numbers(departures: &[Departure], of: Direction) -> Vec<usize> {
    departures.iter().filter(|(_, direction, _)| *direction == of).map(|(_, _, number)| *number).collect()
}

#[test]
fn nothing_leaves_before_it_is_due() {
    let mut link = LateFrames::new(FINE, 1);
    let start = Instant::now();
    link.take(start, Direction::ToServer, vec![7]);
    let due = link.next_due().unwrap();
    assert!(link.give(due - Duration::from_nanos(1)).is_none());
    assert_eq!(link.give(due), Some((Direction::ToServer, vec![7])));
    assert!(link.next_due().is_none() && link.give(due + HUNDRED_MS).is_none());
}

#[test]
fn every_frame_leaves_once_and_is_late_by_the_delay_give_or_take_the_jitter() {
    let weather = Weather { in_order: false, ..FINE };
    let (arrivals, departures, link) = thousand_frames(weather, 2);
    let lags: Vec<Duration> = departures.iter().map(|(at, _, number)| *at - arrivals[*number]).collect();
    assert!(lags.iter().all(|lag| (HUNDRED_MS - FORTY_MS..=HUNDRED_MS + FORTY_MS).contains(lag)));
    let mean = lags.iter().sum::<Duration>() / 1_000;
    assert!(mean > Duration::from_millis(97) && mean < Duration::from_millis(103), "{mean:?}");
    let spread = *lags.iter().max().unwrap() - *lags.iter().min().unwrap();
    assert!(spread > Duration::from_millis(75), "{spread:?}");
    let mut left: Vec<usize> = departures.iter().map(|(_, _, number)| *number).collect();
    left.sort_unstable();
    assert_eq!(left, (0..1_000).collect::<Vec<_>>());
    assert_eq!((link.seen().delayed, link.seen().doubled, link.seen().dropped), (1_000, 0, 0));
}

#[test]
fn where_order_is_kept_no_frame_passes_another_one_of_its_direction() {
    let (arrivals, departures, link) = thousand_frames(FINE, 3);
    for direction in [Direction::ToServer, Direction::FromServer] {
        assert!(numbers(&departures, direction).is_sorted());
    }
    assert_eq!(link.seen().overtaken, 0);
    // Waiting for the one before makes a frame later, and never later than the latest may be.
    let latest = departures.iter().map(|(at, _, number)| *at - arrivals[*number]).max().unwrap();
    assert!(latest <= HUNDRED_MS + FORTY_MS);
}

#[test]
fn where_it_is_not_kept_they_overtake_each_other_and_are_counted() {
    let (_, departures, link) = thousand_frames(Weather { in_order: false, ..FINE }, 4);
    let mut overtaken = 0;
    for direction in [Direction::ToServer, Direction::FromServer] {
        let mut newest = 0;
        for number in numbers(&departures, direction) {
            overtaken += u64::from(number < newest);
            newest = newest.max(number);
        }
    }
    assert!(overtaken > 500, "{overtaken}");
    assert_eq!(link.seen().overtaken, overtaken);
}

#[test]
fn as_many_frames_come_twice_as_the_weather_says_and_the_second_comes_later() {
    for percent in [1, 25, 50] {
        let (_, departures, link) = thousand_frames(Weather { doubled_percent: percent, ..FINE }, 5);
        let mut times = BTreeMap::<usize, Vec<Instant>>::new();
        departures.iter().for_each(|(at, _, number)| times.entry(*number).or_default().push(*at));
        assert_eq!(times.len(), 1_000);
        let doubled: Vec<_> = times.values().filter(|times| times.len() > 1).collect();
        assert!(doubled.iter().all(|times| times.len() == 2 && times[1] - times[0] >= FINE.least()));
        assert!(doubled.len().abs_diff(percent as usize * 10) < 60, "{percent} %: {}", doubled.len());
        assert_eq!(link.seen().doubled, doubled.len() as u64);
        // A copy is late on purpose, and no sign that the link lost the order.
        assert_eq!(link.seen().overtaken, 0);
    }
}

#[test]
fn a_seed_gives_the_same_departures_again_and_another_one_others() {
    let weather = Weather { in_order: false, doubled_percent: 20, ..FINE };
    let order = |seed| thousand_frames(weather, seed).1.into_iter().map(|(_, _, number)| number).collect();
    let (once, again, other): (Vec<usize>, Vec<usize>, Vec<usize>) = (order(6), order(6), order(7));
    assert_eq!(once, again);
    assert_ne!(once, other);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted_and_room_comes_back() {
    let weather = Weather { doubled_percent: 100, ..FINE };
    let mut link = LateFrames::new(weather, 8);
    let start = Instant::now();
    for _ in 0..FRAMES_MAX {
        link.take(start, Direction::ToServer, vec![0; 64]);
    }
    assert_eq!(link.seen().dropped, FRAMES_MAX as u64);
    let later = start + Duration::from_secs(1);
    let left = std::iter::from_fn(|| link.give(later)).count();
    assert_eq!(left, FRAMES_MAX);
    link.take(later, Direction::ToServer, vec![0; 64]);
    assert!(link.next_due().is_some());
    assert_eq!(link.seen().dropped, FRAMES_MAX as u64);
}
