//! The faults of a storm: what each does, how long it lasts, and how it is seen to bite.
//!
//! What it promises: a fault that ends with `Ok` has had its effect, which was looked at; afterwards nothing of it is left.
//! `Err` means that the harness could not make it, which is no finding about the service. What it must not do: leave out a
//! fault in silence.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rustix::process::Signal;

use super::network::{Counted, Fate, Network, Way};
use crate::cluster::{Cluster, SETTLE};

/// What can be done to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum FaultKind {
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of a follower.
    KillFollower,
    /// kill -9 of all, restart in another order.
    KillAll,
    /// kill -9 of the leader, which is back before its successor is elected.
    RestartLeader,
    /// SIGTERM of the leader.
    TerminateLeader,
    /// SIGTERM of a follower.
    TerminateFollower,
    /// SIGSTOP of the leader, then SIGCONT.
    StopLeader,
    /// SIGSTOP of a follower, then SIGCONT.
    StopFollower,
    /// The leader alone on its side of a cut.
    CutLeader,
    /// A follower alone on its side of a cut.
    CutFollower,
    /// The leader and as many others as are no majority.
    CutMinority,
    /// The leader hears no other server and is heard by all.
    LeaderDeaf,
    /// The leader hears all other servers and is heard by none.
    LeaderMute,
    /// The leader and one follower do not hear each other; all others hear both.
    Bridge,
    /// Each server hears only two others; of five.
    Ring,
    /// The leader is cut off and back, again and again.
    Flapping,
    /// Connections between the leader and the others are reset.
    Reset,
    /// A part of all packets between servers is lost.
    Loss,
    /// Clients do not reach the leader, but all others.
    ClientsCut,
    /// What leaves the leader is slowed down to 256 kbit/s.
    SlowLeader,
    /// What the leader sends and receives is 10 to 500 ms late, with jitter.
    LateLeader,
    /// The same at a follower.
    LateFollower,
    /// Packets from and to the leader overtake each other.
    Reorder,
    /// 1 to 50 % of the packets from and to the leader come twice.
    Duplicate,
    /// A server joins, becomes a voter, and another one is removed and ended.
    Replace,
    /// Leadership is handed over.
    HandOver,
}

impl FaultKind {
    /// Whether it can be done to so many servers.
    pub fn fits(self, servers: usize) -> bool {
        !matches!(self, Self::Ring | Self::CutMinority) || servers >= 5
    }

    /// Whether more than half of the servers run and all hear each other in time while it lasts. One server whose packets are
    /// late, however late, leaves one: the others may go on without it, and have to if it leads.
    pub fn leaves_a_majority(self) -> bool {
        !matches!(self, Self::KillAll | Self::Ring | Self::Loss)
    }
}

/// The leader of a ring and the two that it does not reach.
const RING_BITING_MIN: usize = 3;

/// Where faults happen.
pub struct Scene {
    /// The servers.
    pub cluster: Cluster,
    /// Their network.
    pub network: Network,
    /// Where choices come from.
    pub random: StdRng,
    /// Servers that may still be added.
    pub spares: usize,
}

pub(super) type Evidence = Result<String, String>;

impl Scene {
    /// Makes a fault, holds it, sees that it bites, and takes it away.
    pub async fn happen(&mut self, kind: FaultKind) -> Evidence {
        let leader = self.cluster.leader().await;
        let mut others: Vec<usize> =
            self.cluster.running().into_iter().filter(|number| *number != leader).collect();
        others.shuffle(&mut self.random);
        let follower = *others.first().ok_or("a cluster of one has no faults to tell of")?;
        match kind {
            FaultKind::KillLeader => self.kill(&[leader]).await,
            FaultKind::KillFollower => self.kill(&[follower]).await,
            FaultKind::KillAll => self.kill(&[&[leader][..], &others[..]].concat()).await,
            FaultKind::RestartLeader => self.restart_at_once(leader),
            FaultKind::TerminateLeader => self.terminate(leader).await,
            FaultKind::TerminateFollower => self.terminate(follower).await,
            FaultKind::StopLeader => self.stop(leader).await,
            FaultKind::StopFollower => self.stop(follower).await,
            FaultKind::CutLeader => self.cut(&[(leader, others)], Way::Both, Fate::Drop).await,
            FaultKind::CutFollower => {
                let all = self.cluster.running().into_iter().filter(|number| *number != follower).collect();
                self.cut(&[(follower, all)], Way::Both, Fate::Drop).await
            }
            FaultKind::CutMinority => {
                let majority = others.split_off(others.len().div_ceil(2) - 1);
                let minority = [&[leader][..], &others[..]].concat();
                let cuts: Vec<_> = minority.into_iter().map(|number| (number, majority.clone())).collect();
                self.cut(&cuts, Way::Both, Fate::Drop).await
            }
            FaultKind::LeaderDeaf => self.cut(&[(leader, others)], Way::In, Fate::Drop).await,
            FaultKind::LeaderMute => self.cut(&[(leader, others)], Way::Out, Fate::Drop).await,
            FaultKind::Bridge => self.cut(&[(leader, vec![follower])], Way::Both, Fate::Drop).await,
            FaultKind::Ring => self.ring().await,
            FaultKind::Flapping => self.flap(leader, &others).await,
            FaultKind::Reset => self.cut(&[(leader, others)], Way::Both, Fate::Reset).await,
            FaultKind::Loss => self.lose().await,
            FaultKind::ClientsCut => self.cut_clients(leader).await,
            FaultKind::SlowLeader => self.slow(leader).await,
            FaultKind::LateLeader => self.delay(leader).await,
            FaultKind::LateFollower => self.delay(follower).await,
            FaultKind::Reorder => self.reorder(leader).await,
            FaultKind::Duplicate => self.duplicate(leader).await,
            FaultKind::Replace => self.replace(leader, follower).await,
            FaultKind::HandOver => self.hand_over(leader).await,
        }
    }

    /// How long a fault lasts. The pace of the storm, not a wait for anything.
    async fn hold(&mut self) {
        let milliseconds = self.random.random_range(500..3_500);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    async fn kill(&mut self, victims: &[usize]) -> Evidence {
        for victim in victims {
            self.cluster.signal(*victim, Signal::KILL);
        }
        for victim in victims {
            let status = self.cluster.wait_exit(*victim);
            if status.is_some() {
                return Err(format!("server {victim} was killed and ended by itself with {status:?}"));
            }
        }
        self.hold().await;
        let mut order = victims.to_vec();
        order.shuffle(&mut self.random);
        for victim in &order {
            self.cluster.start_server(*victim);
        }
        Ok(format!("killed {victims:?}, started {order:?}"))
    }

    fn restart_at_once(&mut self, victim: usize) -> Evidence {
        self.cluster.kill(victim);
        let ended = Instant::now();
        self.cluster.start_server(victim);
        let gap = ended.elapsed();
        if gap > Duration::from_millis(100) {
            return Err(format!("the restart came only after {gap:?}"));
        }
        Ok(format!("killed {victim}, started again after {gap:.1?}"))
    }

    async fn terminate(&mut self, victim: usize) -> Evidence {
        self.cluster.signal(victim, Signal::TERM);
        let deadline = Instant::now() + SETTLE;
        while !self.cluster.has_ended(victim) {
            if Instant::now() > deadline {
                return Err(format!("server {victim} does not end when asked to"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = self.cluster.wait_exit(victim);
        if status != Some(0) {
            return Err(format!("server {victim} ended with {status:?} when asked to"));
        }
        self.hold().await;
        self.cluster.start_server(victim);
        Ok(format!("terminated {victim}"))
    }

    async fn stop(&mut self, victim: usize) -> Evidence {
        let milliseconds = *[100, 1_000, 2_500, 5_000]
            .get(self.random.random_range(0..4usize))
            .expect("the index is below the length");
        self.cluster.signal(victim, Signal::STOP);
        let is_stopped = self.is_stopped(victim).await;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let is_still_stopped = self.is_stopped(victim).await;
        self.cluster.signal(victim, Signal::CONT);
        if is_stopped && is_still_stopped {
            Ok(format!("stopped {victim} for {milliseconds} ms"))
        } else {
            Err(format!("server {victim} was stopped and ran"))
        }
    }

    /// Whether the kernel says so, within a second.
    async fn is_stopped(&self, victim: usize) -> bool {
        let stat = format!("/proc/{}/stat", self.cluster.pid(victim));
        for _ in 0..100 {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            // The name of the program stands in brackets before the state and may hold anything.
            if text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Each server of `cuts` is cut from the servers named with it, for a while.
    async fn cut(&mut self, cuts: &[(usize, Vec<usize>)], way: Way, fate: Fate) -> Evidence {
        for (victim, others) in cuts {
            let others: Vec<String> = others.iter().map(|other| self.network.address(*other)).collect();
            self.network.hold_up(*victim, &others, way, fate).await?;
        }
        self.hold().await;
        self.lift(cuts.iter().map(|(victim, _)| *victim).collect(), cuts.len(), way, fate).await
    }

    /// Takes rules away, after a look at what they did: so many of them must have met a packet.
    async fn lift(&self, victims: Vec<usize>, biting_min: usize, way: Way, fate: Fate) -> Evidence {
        let mut counts = Vec::new();
        for victim in &victims {
            counts.push(self.network.counted(*victim).await?);
            self.network.let_through(*victim).await?;
        }
        let is_partial = way != Way::Both || matches!(fate, Fate::Lose(_));
        let bites = |counted: &&Counted| counted.hit > 0 && (!is_partial || counted.passed > 0);
        let account = format!("{way:?} {fate:?} at {victims:?}: {counts:?}");
        if counts.iter().filter(bites).count() >= biting_min {
            Ok(account)
        } else {
            Err(format!("no packet met it: {account}"))
        }
    }

    async fn ring(&mut self) -> Evidence {
        let order = self.cluster.running();
        let count = order.len();
        let far = |at: usize| vec![order[(at + 2) % count], order[(at + count - 2) % count]];
        for (at, victim) in order.iter().enumerate() {
            let far: Vec<String> = far(at).iter().map(|other| self.network.address(*other)).collect();
            self.network.hold_up(*victim, &far, Way::Both, Fate::Drop).await?;
        }
        self.hold().await;
        // Followers that are neighbours of the leader may have nothing to say to the far ones.
        self.lift(order, RING_BITING_MIN, Way::Both, Fate::Drop).await
    }

    async fn flap(&mut self, victim: usize, others: &[usize]) -> Evidence {
        let addresses: Vec<String> = others.iter().map(|other| self.network.address(*other)).collect();
        let mut times = 0;
        for _ in 0..5 {
            self.network.hold_up(victim, &addresses, Way::Both, Fate::Drop).await?;
            let cut = self.random.random_range(200..1_200);
            tokio::time::sleep(Duration::from_millis(cut)).await;
            times += usize::from(self.network.counted(victim).await?.hit > 0);
            self.network.let_through(victim).await?;
            let whole = self.random.random_range(100..600);
            tokio::time::sleep(Duration::from_millis(whole)).await;
        }
        if times >= 3 {
            Ok(format!("cut {victim} off {times} times"))
        } else {
            Err(format!("only {times} of 5 cuts around server {victim} met a packet"))
        }
    }

    async fn lose(&mut self) -> Evidence {
        let percent = self.random.random_range(5..=30);
        let servers = self.cluster.running();
        let cuts: Vec<_> = servers
            .iter()
            .map(|server| (*server, servers.iter().copied().filter(|other| other != server).collect()))
            .collect();
        self.cut(&cuts, Way::In, Fate::Lose(percent)).await
    }

    async fn cut_clients(&mut self, leader: usize) -> Evidence {
        self.network.hold_up(leader, &[self.network.clients()], Way::Both, Fate::Drop).await?;
        self.hold().await;
        self.lift(vec![leader], 1, Way::Both, Fate::Drop).await
    }

    async fn slow(&mut self, victim: usize) -> Evidence {
        self.network.slow_down(victim).await?;
        self.hold().await;
        let held_back = self.network.held_back(victim).await?;
        self.network.speed_up(victim).await?;
        if held_back == 0 {
            return Err(format!("the shaper at server {victim} held nothing back"));
        }
        Ok(format!("slowed {victim}: {held_back} packets held back"))
    }
}
