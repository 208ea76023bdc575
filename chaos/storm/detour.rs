//! Faults of a link that delivers everything, and late: delay, jitter, another order, duplicates.
//!
//! For as long as the fault lasts, the packets of one server go over two TAP devices and a relay in this process instead of
//! its own link. Its address and hardware address stay, so connections stay too.
//!
//! What it promises: `Ok` means that frames were seen to be late, to overtake each other or to come twice, as the fault asks,
//! and that links and addresses are as they were before. What it must not do: lose a frame on purpose.

use std::ops::Range;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::net::TcpStream;

use super::faults::{Evidence, Scene};
use super::late::{Seen, Weather};
use super::network::Network;
use super::relay::{Ends, Relay, Tap};
use crate::cluster::SETTLE;

/// How long the connections may take with which a link is measured.
const MEASURE: Duration = Duration::from_secs(10);
/// Frames that must have been late, overtaken or doubled before the fault may end.
const LATE_MIN: u64 = 20;
const OVERTAKEN_MIN: u64 = 5;
const DOUBLED_MIN: u64 = 2;

/// A server whose packets take another way.
struct Detour {
    number: usize,
    relay: Relay,
    /// Links and addresses before.
    before: String,
}

/// How long reordered and doubled packets last, in milliseconds. The pace of the storm, not a wait for anything.
const HOLD_MS: Range<u64> = 1_500..4_000;
/// How long late ones do: longer than the cluster may be silent, or it could not be seen that nobody replaces a late leader.
const HOLD_LATE_MS: Range<u64> = 5_500..8_000;

impl Scene {
    /// Everything from and to one server is 10 to 500 ms late, each packet by another time, in the order of its sending.
    pub(super) async fn delay(&mut self, victim: usize) -> Evidence {
        // Short delays as often as long ones.
        let (least, most) = if self.random.random() { (10, 50) } else { (50, 500) };
        let delay = Duration::from_millis(self.random.random_range(least..=most));
        let jitter = delay.mul_f64(self.random.random_range(0.1..=0.5));
        let weather = Weather { delay, jitter, in_order: true, doubled_percent: 0 };
        self.weather(victim, weather, HOLD_LATE_MS, |seen| seen.delayed >= LATE_MIN).await
    }

    /// Packets from and to one server overtake each other.
    pub(super) async fn reorder(&mut self, victim: usize) -> Evidence {
        let delay = Duration::from_millis(self.random.random_range(5..=50));
        let weather = Weather { delay, jitter: delay, in_order: false, doubled_percent: 0 };
        self.weather(victim, weather, HOLD_MS, |seen| seen.overtaken >= OVERTAKEN_MIN).await
    }

    /// One to fifty of a hundred packets from and to one server come a second time, up to 40 ms after the first.
    pub(super) async fn duplicate(&mut self, victim: usize) -> Evidence {
        let delay = Duration::from_millis(self.random.random_range(1..=20));
        let doubled_percent = self.random.random_range(1..=50);
        let weather = Weather { delay, jitter: delay, in_order: true, doubled_percent };
        self.weather(victim, weather, HOLD_MS, |seen| seen.doubled >= DOUBLED_MIN).await
    }

    async fn weather(
        &mut self,
        victim: usize,
        weather: Weather,
        hold_ms: Range<u64>,
        bites: impl Fn(&Seen) -> bool,
    ) -> Evidence {
        let seed = self.random.random();
        let hold = Duration::from_millis(self.random.random_range(hold_ms));
        let trip_before = self.network.round_trip(victim).await?;
        let mut detour = self.network.divert(victim, weather, seed).await?;
        tokio::time::sleep(hold).await;
        let trip = self.network.round_trip(victim).await?;
        let is_bitten = tokio::time::timeout(SETTLE, detour.relay.wait_for(bites)).await.unwrap_or(false);
        let seen = detour.relay.seen();
        self.network.straighten(detour).await?;
        let account = format!(
            "{weather:?} at {victim}: {seen:?}; a round trip took {trip_before:.1?} before and {trip:.1?} meanwhile"
        );
        if is_bitten && trip >= 2 * weather.least() {
            Ok(account)
        } else {
            Err(format!("it was not seen: {account}"))
        }
    }
}

impl Network {
    /// Sends what server `number` sends and receives over a relay. The process must be in the namespace of the clients.
    async fn divert(&self, number: usize, weather: Weather, seed: u64) -> Result<Detour, String> {
        let before = self.links(number).await?;
        let hardware = self.run(number, &["cat", "/sys/class/net/eth0/address"], "").await?;
        let (near, far) = (format!("late{}", number + 1), format!("far{}", number + 1));
        let create = |name: &str| Tap::create(name).map_err(|error| format!("no TAP device: {error}"));
        let ends = Ends { others: create(&near)?, server: create(&far)? };
        let namespace = format!("{}-{}", self.namespaces, number + 1);
        self.batch_here(&format!("link set {near} up\nlink set {far} netns {namespace} name late0\n"))
            .await?;
        // Both have the address for a moment, so that it is never absent.
        let address = self.address(number);
        let mut script = format!(
            "link set late0 address {}\naddress add {address}/24 dev late0\nlink set late0 up\n",
            hardware.trim()
        );
        for (neighbour, hardware) in self.neighbours(number).await? {
            script += &format!("neighbour replace {neighbour} lladdr {hardware} dev late0 nud stale\n");
        }
        self.run(number, &["ip", "-batch", "-"], &script).await?;
        let relay = Relay::start(ends, weather, seed).map_err(|error| format!("no relay: {error}"))?;
        self.batch_here(&format!("link set server{} nomaster\nlink set {near} master bridge0\n", number + 1))
            .await?;
        self.run(number, &["ip", "link", "set", "eth0", "down"], "").await?;
        Ok(Detour { number, relay, before })
    }

    /// Ends a detour, and waits until everything is as before.
    async fn straighten(&self, detour: Detour) -> Result<(), String> {
        let Detour { number, relay, before } = detour;
        let ends = relay.finish().await?;
        let near = format!("late{}", number + 1);
        self.batch_here(&format!("link set {near} nomaster\nlink set server{} master bridge0\n", number + 1))
            .await?;
        self.run(number, &["ip", "link", "set", "eth0", "up"], "").await?;
        drop(ends);
        let deadline = Instant::now() + SETTLE;
        loop {
            let now = self.links(number).await?;
            if now == before {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the link of server {number} was `{before}` and is `{now}`"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Devices, addresses and ways of server `number`, and what is plugged into the bridge.
    async fn links(&self, number: usize) -> Result<String, String> {
        let mut text = self.run_here(&["ip", "-brief", "link", "show", "master", "bridge0"], "").await?;
        for command in [["-brief", "link"], ["-4", "address"], ["-4", "route"]] {
            text += &self.run(number, &["ip", command[0], command[1], "show"], "").await?;
        }
        Ok(text)
    }

    /// Whose hardware address server `number` knows: it need not ask for it again, which a slow link would make it wait for.
    async fn neighbours(&self, number: usize) -> Result<Vec<(String, String)>, String> {
        let text = self.run(number, &["ip", "-4", "neighbour", "show", "dev", "eth0"], "").await?;
        let known = text.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "lladdr")?;
            Some(((*words.first()?).to_owned(), (*words.get(at + 1)?).to_owned()))
        });
        Ok(known.collect())
    }

    async fn batch_here(&self, script: &str) -> Result<(), String> {
        self.run_here(&["ip", "-batch", "-"], script).await.map(drop)
    }

    /// The shortest of three round trips between the clients and server `number`.
    async fn round_trip(&self, number: usize) -> Result<Duration, String> {
        let address = format!("{}:7400", self.address(number));
        let mut shortest = MEASURE;
        for _ in 0..3 {
            let began = Instant::now();
            let connection = tokio::time::timeout(MEASURE, TcpStream::connect(&address)).await;
            connection
                .map_err(|_| format!("no connection to {address} within {MEASURE:?}"))?
                .map_err(|error| format!("no connection to {address}: {error}"))?;
            shortest = shortest.min(began.elapsed());
        }
        Ok(shortest)
    }
}
