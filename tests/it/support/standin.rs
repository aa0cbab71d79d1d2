//! A server that stands in for CockroachDB: PostgreSQL's protocol, message by message, in
//! front of a PostgreSQL of our own. Given statements get given answers (rows, an SQLSTATE,
//! an answer that breaks off); all others are PostgreSQL's. A database that does not exist is
//! met as on CockroachDB: connecting succeeds, and the first statement that looks something
//! up fails. What PostgreSQL cannot run (LOCALITY, SHOW RANGES, AS OF SYSTEM TIME) this
//! cannot either: there its tests end.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::frontend,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_postgres::{Config, config::SslMode, types::private::BytesMut};

/// What a statement gets instead of PostgreSQL's answer.
#[derive(Clone)]
pub enum Answer {
    /// Rows of one column of text.
    Rows(Vec<String>),
    /// An SQLSTATE and a message, when the statement is executed.
    Error(&'static str, String),
    /// PostgreSQL's, of which one half arrives.
    Cut,
}

/// How log-ins are met.
#[derive(Clone, Default)]
pub enum LogIn {
    /// Everybody is let in.
    #[default]
    Open,
    /// Everybody is refused with this SQLSTATE and message.
    Refused(&'static str, &'static str),
    /// Passwords are kept with so many SCRAM iterations.
    Iterations(u32),
}

struct Rule {
    text: String,
    answer: Answer,
    times: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    log_in: LogIn,
    /// Settings that clients ask for in vain begin so.
    dropped: Option<String>,
    sessions: Vec<JoinHandle<io::Result<()>>>,
    log_ins: usize,
    executed: Vec<String>,
}

impl State {
    /// The answer of the first rule that holds for `sql`.
    fn rule(&self, sql: &str) -> Option<Answer> {
        self.rules.iter().find(|rule| rule.times > 0 && sql.contains(&rule.text)).map(|rule| rule.answer.clone())
    }

    fn used(&mut self, sql: &str) {
        if let Some(rule) = self.rules.iter_mut().find(|rule| rule.times > 0 && sql.contains(&rule.text)) {
            rule.times -= 1;
        }
        self.executed.push(sql.to_owned());
    }
}

/// The stand-in; it ends when dropped.
pub struct StandIn {
    /// Its first port; those of the other nodes follow.
    pub port: u16,
    state: Arc<Mutex<State>>,
    accepting: Vec<JoinHandle<()>>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        self.cut();
    }
}

/// One address of it.
#[derive(Clone)]
struct Node {
    /// PostgreSQL, and who does the work there whoever logs in here.
    behind: Config,
    /// The region that it says it is in, for CockroachDB.
    region: Option<String>,
    state: Arc<Mutex<State>>,
}

/// Whether a stand-in can be put before the server of `url`, with which it speaks without
/// TLS; says so if not.
pub fn stands_before(url: &str, name: &str) -> bool {
    let plain = url.parse::<Config>().is_ok_and(|config| config.get_ssl_mode() != SslMode::Require);
    if !plain {
        eprintln!("SKIPPED {name}: needs a server that is reached without TLS");
    }
    plain
}

impl StandIn {
    /// As PostgreSQL, whose superuser's URL is `url`.
    pub async fn postgres(url: &str) -> Self {
        Self::listen(url, &[None]).await
    }

    /// As CockroachDB without regions but those in which its nodes say they are, one for
    /// each of `regions`; the version is the recorded one.
    pub async fn cockroach(url: &str, regions: &[&str]) -> Self {
        let regions: Vec<_> = regions.iter().map(|region| Some((*region).to_owned())).collect();
        let this = Self::listen(url, &regions).await;
        this.answer("SELECT version()", Answer::Rows(vec![sample("version.txt").lines().nth(1).unwrap().to_owned()]));
        this.answer("[SHOW REGIONS FROM DATABASE]", Answer::Rows(vec!["0".to_owned()]));
        this.answer("coalesce(max(region), '') FROM [SHOW REGIONS FROM DATABASE]", Answer::Rows(vec![String::new()]));
        let cluster = sample("show-regions-from-cluster.txt").lines().skip(1).count().to_string();
        // A UNIQUE constraint is dropped as an index there, in words that PostgreSQL does not read.
        this.answer("_key CASCADE;", Answer::Rows(vec!["0".to_owned()]));
        this.answer("[SHOW REGIONS FROM CLUSTER]", Answer::Rows(vec![cluster]));
        this
    }

    async fn listen(url: &str, regions: &[Option<String>]) -> Self {
        let (mut listeners, mut port) = (Vec::new(), 0);
        while listeners.len() < regions.len() {
            if listeners.is_empty() {
                port = rand::random_range(20_000..30_000);
            }
            match TcpListener::bind(("127.0.0.1", port + u16::try_from(listeners.len()).unwrap())).await {
                Ok(listener) => listeners.push(listener),
                Err(_) => listeners.clear(),
            }
        }
        let (behind, state): (Config, _) = (url.parse().unwrap(), Arc::<Mutex<State>>::default());
        let accepting = listeners.into_iter().zip(regions).map(|(listener, region)| {
            let node = Node { behind: behind.clone(), region: region.clone(), state: Arc::clone(&state) };
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let node = node.clone();
                    let state = Arc::clone(&node.state);
                    let session = tokio::spawn(async move { node.session(client).await });
                    state.lock().unwrap().sessions.push(session);
                }
            })
        });
        let accepting = accepting.collect();
        Self { port, state, accepting }
    }

    /// Where its first node serves `database`.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://root@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// From now on statements with `text` in them get `answer`; of several such the newest.
    pub fn answer(&self, text: &str, answer: Answer) {
        self.answer_times(text, answer, usize::MAX);
    }

    /// The same, so many times.
    pub fn answer_times(&self, text: &str, answer: Answer, times: usize) {
        let rule = Rule { text: text.to_owned(), answer, times };
        self.state.lock().unwrap().rules.insert(0, rule);
    }

    pub fn log_in(&self, log_in: LogIn) {
        self.state.lock().unwrap().log_in = log_in;
    }

    /// As poolers do that are told to ignore startup parameters: of the settings that clients
    /// ask for, those that begin so are dropped; with "" all, with none none.
    pub fn drop_options(&self, dropped: Option<&str>) {
        self.state.lock().unwrap().dropped = dropped.map(str::to_owned);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.state.lock().unwrap().sessions.drain(..).for_each(|session| session.abort());
    }

    /// How often somebody has tried to log in.
    pub fn log_ins(&self) -> usize {
        self.state.lock().unwrap().log_ins
    }

    /// What was executed so far.
    pub fn executed(&self) -> Vec<String> {
        self.state.lock().unwrap().executed.clone()
    }
}

/// An output of a real server, as it was recorded.
pub fn sample(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crdb-samples");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// A message of either side: its tag, and what follows the length.
type Message = (u8, Vec<u8>);

async fn receive(from: &mut TcpStream) -> io::Result<Message> {
    let tag = from.read_u8().await?;
    let mut body = vec![0; usize::try_from(from.read_i32().await?).unwrap() - 4];
    from.read_exact(&mut body).await?;
    Ok((tag, body))
}

fn wire(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap() + 4;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// The parts of a message that end in zero bytes.
fn texts(body: &[u8]) -> Vec<String> {
    body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn error(severity: &str, code: &str, message: &str) -> Vec<u8> {
    wire(b'E', format!("S{severity}\0V{severity}\0C{code}\0M{message}\0\0").as_bytes())
}

/// The code in an error.
fn code(body: &[u8]) -> String {
    texts(body).iter().find_map(|field| field.strip_prefix('C')).unwrap_or_default().to_owned()
}

impl Node {
    async fn session(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let Some(mut parameters) = startup(&mut client).await? else { return Ok(()) };
        let log_in = {
            let mut state = self.state.lock().unwrap();
            state.log_ins += 1;
            if let (Some(dropped), Some(options)) = (&state.dropped, parameters.get_mut("options")) {
                let kept = options.split("-c ").filter(|option| !option.is_empty() && !option.starts_with(dropped));
                *options = kept.map(|option| format!("-c {option}")).collect::<Vec<_>>().concat();
            }
            state.log_in.clone()
        };
        match log_in {
            LogIn::Open => {}
            LogIn::Refused(code, message) => return client.write_all(&error("FATAL", code, message)).await,
            LogIn::Iterations(count) => {
                let mechanisms = [&10_i32.to_be_bytes()[..], SCRAM_SHA_256.as_bytes(), b"\0\0"].concat();
                client.write_all(&wire(b'R', &mechanisms)).await?;
                let (_, first) = receive(&mut client).await?;
                let nonce = String::from_utf8_lossy(&first).rsplit_once("r=").unwrap().1.to_owned();
                let challenge = format!("r={nonce}more,s=c2FsdA==,i={count}");
                client.write_all(&wire(b'R', &[&11_i32.to_be_bytes()[..], challenge.as_bytes()].concat())).await?;
                return receive(&mut client).await.map(drop);
            }
        }
        let mut missing = None;
        let (mut server, greeting) = match self.behind(&parameters).await? {
            Err(refusal) if self.region.is_some() && code(&refusal) == "3D000" => {
                missing = parameters.insert("database".to_owned(), "postgres".to_owned());
                self.behind(&parameters).await?.map_err(|refusal| io::Error::other(code(&refusal)))?
            }
            Err(refusal) => return client.write_all(&wire(b'E', &refusal)).await,
            Ok(server) => server,
        };
        client.write_all(&greeting).await?;
        let (mut prepared, mut status) = (HashMap::new(), b'I');
        loop {
            let mut batch = vec![receive(&mut client).await?];
            while !matches!(batch.last().unwrap().0, b'Q' | b'S' | b'X') {
                batch.push(receive(&mut client).await?);
            }
            match self.answer(&batch, &mut prepared, missing.as_deref()) {
                Some(Answer::Rows(rows)) => {
                    client.write_all(&given(&batch, &prepared, &rows, status)).await?;
                }
                Some(Answer::Error(code, message)) => {
                    status = if status == b'I' { b'I' } else { b'E' };
                    let refusal = [error("ERROR", code, &message), wire(b'Z', &[status])].concat();
                    client.write_all(&refusal).await?;
                }
                cut => {
                    if self.region.is_some() {
                        batch.iter_mut().filter(|(tag, _)| *tag == b'Q').for_each(|(_, body)| in_other_words(body));
                    }
                    let bytes: Vec<u8> = batch.iter().flat_map(|(tag, body)| wire(*tag, body)).collect();
                    server.write_all(&bytes).await?;
                    loop {
                        let (tag, body) = receive(&mut server).await?;
                        let bytes = wire(tag, &body);
                        if cut.is_some() {
                            return client.write_all(&bytes[..bytes.len() / 2]).await;
                        }
                        client.write_all(&bytes).await?;
                        if tag == b'Z' {
                            status = body[0];
                            break;
                        }
                    }
                }
            }
        }
    }

    /// What the messages up to a Sync get, unless it is PostgreSQL's answer.
    fn answer(
        &self,
        batch: &[Message],
        prepared: &mut HashMap<String, String>,
        missing: Option<&str>,
    ) -> Option<Answer> {
        let mut answer = None;
        for (tag, body) in batch {
            let text = texts(body);
            let (sql, executes) = match tag {
                b'Q' => (text[0].clone(), true),
                b'P' => (text[1].clone(), false),
                b'B' => (prepared.get(&text[1]).cloned().unwrap_or_default(), true),
                b'D' | b'C' => (prepared.get(&text[0][1..]).cloned().unwrap_or_default(), false),
                _ => continue,
            };
            if *tag == b'P' {
                prepared.insert(text[0].clone(), sql.clone());
            }
            let mut state = self.state.lock().unwrap();
            let mut found = state.rule(&sql);
            if let Some(region) = self.region.as_ref().filter(|_| sql.contains("gateway_region()"))
                && found.is_none()
            {
                found = Some(Answer::Rows(vec![region.clone()]));
            }
            if let Some(missing) = missing.filter(|_| sql.contains(" FROM ")) {
                found = Some(Answer::Error("3D000", format!("database \"{missing}\" does not exist")));
            } else if executes {
                state.used(&sql);
            } else if !matches!(found, Some(Answer::Rows(_))) {
                continue;
            }
            answer = found.or(answer);
        }
        answer
    }

    /// A session of PostgreSQL and what it says when it begins, or its refusal.
    async fn behind(&self, parameters: &HashMap<String, String>) -> io::Result<Result<(TcpStream, Vec<u8>), Vec<u8>>> {
        let mut server = TcpStream::connect(("127.0.0.1", self.behind.get_ports()[0])).await?;
        server.set_nodelay(true)?;
        let own = parameters.iter().filter(|(name, _)| *name != "user");
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        let mut bytes = BytesMut::new();
        frontend::startup_message(own.chain([("user", self.behind.get_user().unwrap())]), &mut bytes)?;
        let mut scram = ScramSha256::new(self.behind.get_password().unwrap_or_default(), ChannelBinding::unsupported());
        let mut greeting = wire(b'R', &0_i32.to_be_bytes());
        loop {
            server.write_all(&bytes.split()).await?;
            let (tag, body) = receive(&mut server).await?;
            match (tag, body.get(3)) {
                (b'E', _) => return Ok(Err(body)),
                (b'R', Some(10)) => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut bytes)?,
                (b'R', Some(11)) => {
                    scram.update(&body[4..])?;
                    frontend::sasl_response(scram.message(), &mut bytes)?;
                }
                (b'R', _) => {}
                _ => greeting.extend(wire(tag, &body)),
            }
            if tag == b'Z' {
                return Ok(Ok((server, greeting)));
            }
        }
    }
}

/// The parameters of a client that begins; none when it only wants to cancel.
async fn startup(client: &mut TcpStream) -> io::Result<Option<HashMap<String, String>>> {
    loop {
        let mut body = vec![0; usize::try_from(client.read_i32().await?).unwrap() - 4];
        client.read_exact(&mut body).await?;
        match i32::from_be_bytes(body[..4].try_into().unwrap()) {
            // TLS, which is not spoken here.
            80_877_103 => client.write_all(b"N").await?,
            196_608 => {
                let texts = texts(&body[4..]);
                let pairs = texts.chunks_exact(2).filter(|pair| !pair[0].is_empty());
                return Ok(Some(pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect()));
            }
            _ => return Ok(None),
        }
    }
}

/// A UNIQUE constraint is dropped on CockroachDB as the index that it is, `DROP INDEX table@name`.
fn in_other_words(body: &mut Vec<u8>) {
    let sql = String::from_utf8_lossy(body).into_owned();
    let lines = sql.split('\n').map(|line| {
        let dropped = line.strip_prefix("DROP INDEX IF EXISTS ").and_then(|rest| rest.split_once('@'));
        match dropped {
            Some((table, rest)) => {
                format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {}", rest.replace(" CASCADE", ""))
            }
            None => line.to_owned(),
        }
    });
    *body = lines.collect::<Vec<_>>().join("\n").into_bytes();
}

/// Answers to a batch of messages about one statement with these rows.
fn given(batch: &[Message], prepared: &HashMap<String, String>, rows: &[String], status: u8) -> Vec<u8> {
    let described =
        [&1_i16.to_be_bytes()[..], b"answer\0", &[0; 6], &25_i32.to_be_bytes(), &[255; 6], &[0; 2]].concat();
    let row = |text: &String| {
        let length = i32::try_from(text.len()).unwrap();
        wire(b'D', &[&1_i16.to_be_bytes()[..], &length.to_be_bytes(), text.as_bytes()].concat())
    };
    let rows =
        [rows.iter().flat_map(row).collect(), wire(b'C', format!("SELECT {}\0", rows.len()).as_bytes())].concat();
    let answer = |(tag, body): &Message| match tag {
        b'Q' => [wire(b'T', &described), rows.clone(), wire(b'Z', &[status])].concat(),
        b'P' => wire(b'1', &[]),
        b'D' => {
            let sql = prepared.get(&texts(body)[0][1..]).map_or("", String::as_str);
            let parameters = (1..64_i16).rev().find(|n| sql.contains(&format!("${n}"))).unwrap_or(0);
            let types = 25_i32.to_be_bytes().repeat(usize::try_from(parameters).unwrap());
            [wire(b't', &[&parameters.to_be_bytes()[..], &types].concat()), wire(b'T', &described)].concat()
        }
        b'B' => wire(b'2', &[]),
        b'E' => rows.clone(),
        b'C' => wire(b'3', &[]),
        _ => wire(b'Z', &[status]),
    };
    batch.iter().flat_map(answer).collect()
}
