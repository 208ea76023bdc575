//! The network of a storm: one namespace for each server and one for the clients, and what is done to their packets.
//!
//! What it promises: rules lie in tables of this run's own namespaces and nowhere else; every rule counts what it hits, so
//! that it can be shown to bite. What it must not do: make or remove namespaces (`chaos/linearizability` does).

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const TABLE: &str = "slotkeeper_chaos";

/// The names of the namespaces and the addresses in them.
#[derive(Debug, Clone)]
pub struct Network {
    /// What the namespaces are called before the number.
    pub namespaces: String,
    /// What the addresses have before the number.
    pub host: String,
}

/// Which way packets are held up, as the server with the rule sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Those that arrive.
    In,
    /// Those that leave.
    Out,
    /// Both.
    Both,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is gone.
    Drop,
    /// TCP is told that nobody is there.
    Reset,
    /// This share of them is gone, in percent.
    Lose(u32),
}

/// What the rules of one server have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Packets that met their fate.
    pub hit: u64,
    /// Packets of the same servers that were let through.
    pub passed: u64,
}

impl Network {
    /// The address of server `number`, counted from 0.
    pub fn address(&self, number: usize) -> String {
        format!("{}{}", self.host, number + 1)
    }

    /// The address of the clients.
    pub fn clients(&self) -> String {
        format!("{}254", self.host)
    }

    /// Puts a rule into the network of server `number`, about packets from and to `others`.
    pub async fn hold_up(
        &self,
        number: usize,
        others: &[String],
        way: Way,
        fate: Fate,
    ) -> Result<(), String> {
        let list = others.join(", ");
        let (matches, verdict) = match fate {
            Fate::Drop => ("", "drop".to_owned()),
            Fate::Reset => ("meta l4proto tcp", "reject with tcp reset".to_owned()),
            Fate::Lose(_) => ("", "drop".to_owned()),
        };
        let chance = match fate {
            Fate::Lose(percent) => format!("numgen random mod 100 < {percent}"),
            _ => String::new(),
        };
        let chain = |hook: &str, side: &str, is_hit: bool| {
            let hit = format!("ip {side} {{ {list} }} {matches} {chance} counter name hit {verdict}");
            let hit = if is_hit { hit } else { String::new() };
            format!(
                "chain {hook} {{ type filter hook {hook} priority -300;\n{hit}\n\
                 ip {side} {{ {list} }} counter name passed\n}}\n"
            )
        };
        let arriving = chain("input", "saddr", way != Way::Out);
        let leaving = chain("output", "daddr", way != Way::In);
        let rules =
            format!("table inet {TABLE} {{\ncounter hit {{}}\ncounter passed {{}}\n{arriving}{leaving}}}\n");
        self.run(number, &["nft", "-f", "-"], &rules).await.map(drop)
    }

    /// What the rule of server `number` has counted so far.
    pub async fn counted(&self, number: usize) -> Result<Counted, String> {
        let hit = self.counter(number, "hit").await?;
        Ok(Counted { hit, passed: self.counter(number, "passed").await? })
    }

    async fn counter(&self, number: usize, name: &str) -> Result<u64, String> {
        let text = self.run(number, &["nft", "list", "counter", "inet", TABLE, name], "").await?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| format!("no counter in `{text}`"))
    }

    /// Takes the rule of server `number` away.
    pub async fn let_through(&self, number: usize) -> Result<(), String> {
        self.run(number, &["nft", "delete", "table", "inet", TABLE], "").await.map(drop)
    }

    /// Slows what leaves server `number` down to 256 kbit/s.
    pub async fn slow_down(&self, number: usize) -> Result<(), String> {
        let shaper = ["rate", "256kbit", "burst", "4kb", "latency", "100ms"];
        let command = ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf"];
        self.run(number, &[&command[..], &shaper[..]].concat(), "").await.map(drop)
    }

    /// How many packets the shaper of server `number` has held back.
    pub async fn held_back(&self, number: usize) -> Result<u64, String> {
        let text = self.run(number, &["tc", "-s", "qdisc", "show", "dev", "eth0"], "").await?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "overlimits");
        words.nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| format!("no shaper in `{text}`"))
    }

    /// Takes the shaper of server `number` away.
    pub async fn speed_up(&self, number: usize) -> Result<(), String> {
        self.run(number, &["tc", "qdisc", "delete", "dev", "eth0", "root"], "").await.map(drop)
    }

    /// Runs a command in the network of server `number`.
    pub(super) async fn run(&self, number: usize, command: &[&str], input: &str) -> Result<String, String> {
        let namespace = format!("{}-{}", self.namespaces, number + 1);
        let within = [&["ip", "netns", "exec", &namespace][..], command].concat();
        self.run_here(&within, input).await.map_err(|why| format!("at server {}: {why}", number + 1))
    }

    /// Runs a command where the clients are, as this process is.
    pub(super) async fn run_here(&self, command: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("`{}` does not start: {error}", command[0]))?;
        let mut stdin = child.stdin.take().expect("the input is a pipe");
        stdin.write_all(input.as_bytes()).await.map_err(|error| error.to_string())?;
        drop(stdin);
        let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`{}`: {why}", command.join(" ")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
