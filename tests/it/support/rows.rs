//! The whole database as text, to show that a request changed nothing, or that a word
//! is found nowhere; browsers that replay a cookie; signing in; the sample crowd.

use std::{collections::BTreeMap, time::Duration};

use reqwest::header::{COOKIE, HeaderMap, HeaderValue};

use super::{
    app::{Browser, Instance, World},
    engine,
    html::Page,
};

/// Every row of every table as JSON text, sorted.
pub type Rows = BTreeMap<String, Vec<String>>;

impl World {
    /// Every row of the database.
    pub async fn rows(&self) -> Rows {
        let sql = self.sql().await;
        let text =
            "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";
        let mut all = Rows::new();
        for table in sql.query(text, &[]).await.unwrap() {
            let table: String = table.try_get(0).unwrap();
            let text = format!("SELECT row_to_json(t)::TEXT FROM (SELECT * FROM {table}) AS t");
            let rows = sql.query(&text, &[]).await.unwrap();
            let mut rows: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
            rows.sort();
            all.insert(table, rows);
        }
        all
    }

    /// One number that a query gives.
    pub async fn count(&self, query: &str) -> i64 {
        self.sql().await.query_one(query, &[]).await.unwrap().try_get(0).unwrap()
    }

    /// Runs SQL that a test needs to set something up.
    pub async fn set(&self, text: &str) {
        self.sql().await.batch_execute(text).await.unwrap();
    }

    /// Brings the vehicles that wait for approval to the street, as an operator would.
    pub async fn approve(&self) {
        self.set("UPDATE vehicles SET status = 'available', hold = NULL, note = NULL WHERE hold = 'approval'").await;
    }

    /// Waits until the query counts `wanted`, ten seconds at most.
    pub async fn until(&self, query: &str, expected: i64) {
        for _ in 0..200 {
            if self.count(query).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {expected}: {query}");
    }

    /// Sample people and vehicles in some cities. Nobody knows the people's password.
    pub async fn sample(&self, cities: &[&str], users: usize, vehicles: usize) {
        let db = movr::db::Db::open(&engine::tools(&self.database.url).database).await.unwrap();
        let catalogue = movr::db::catalogue::load(&db.here().await.unwrap()).await.unwrap().unwrap();
        let cities = cities.iter().map(ToString::to_string).collect();
        let plan = movr::ops::sample::SamplePlan { cities, users, vehicles, rides: 0, seed: 1 };
        movr::ops::sample::load(&db, &catalogue, &plan, "x", self.clock.now(), |_, _| ()).await.unwrap();
        db.close();
    }
}

impl Instance {
    /// A browser that always sends exactly this cookie.
    pub fn replaying(&self, cookie: &str) -> Browser {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Browser { client, base: self.base.clone(), name: String::new() }
    }
}

impl Browser {
    /// Signs in by the form.
    pub async fn sign_in(&self, username: &str, password: &str) -> Page {
        self.post("/login", &[("username", username), ("password", password)]).await
    }

    /// A post with further headers.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Page {
        let request = self.client.post(self.url(path)).form(fields);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Posts a file as a form with `<input type="file" name="file">` does.
    pub async fn upload(&self, path: &str, file: &[u8]) -> Page {
        let head = b"--MovR\r\nContent-Disposition: form-data; name=\"file\"; filename=\"fleet.csv\"\r\n\r\n";
        let body = [head, file, b"\r\n--MovR--\r\n"].concat();
        self.post_raw(path, "multipart/form-data; boundary=MovR", body).await
    }

    /// A page, asked for with further headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        let request = self.client.get(self.url(path));
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Whether the server still knows this browser's session.
    pub async fn signed_in(&self) -> bool {
        self.get("/profile").await.status == reqwest::StatusCode::OK
    }
}

impl Page {
    /// The cookies that the answer sets, whole.
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// The session cookie that the answer sets, as a browser sends it back.
    pub fn session_cookie(&self) -> String {
        let all = self.set_cookies();
        let found = all.iter().find(|cookie| cookie.contains("movr_session=") && !cookie.contains("Max-Age=0"));
        let found = found.unwrap_or_else(|| panic!("no session among {all:?}"));
        found.split(';').next().unwrap().to_owned()
    }
}

/// Pairs as `Browser::post` takes them.
pub fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
