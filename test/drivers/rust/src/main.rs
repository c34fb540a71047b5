//! tokio-postgres: every statement is prepared, and the server says of which type its
//! parameters are; a Rust value of another type is refused before it is sent.
//!
//! Prints a line for each check, "NAME CHECK ok" or "NAME CHECK FAILED: why"; names and
//! meaning of the checks are those of python/contract.py.

use std::error::Error;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, NoTls, Row};
use uuid::Uuid;

const NOTE: &str = "Amounts are `i64`. Positional ids are `&str` or `String`: pass a `Uuid` or an \
    `i64` as `user_uuid => $1`, `user_bigint => $1` (or `$1::uuid`, `$1::bigint`, or with \
    `query_typed`), or it is refused before anything is counted. `error.as_db_error()` has \
    `code()` and `detail()`. `skene_require` goes through `execute`. Behind PgBouncer before 1.21: \
    only `query_typed`.";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Demand that two values are equal.
fn same<T: PartialEq + Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected {
        Ok(())
    } else {
        Err(format!("{actual:?} is not {expected:?}").into())
    }
}

/// Demand that a time to wait is about so many days.
fn near(wait: Duration, days: u64) -> Outcome {
    let day = Duration::from_secs(24 * 60 * 60);
    let expected = day * days as u32;
    if wait > expected - day && wait <= expected + Duration::from_secs(5) {
        Ok(())
    } else {
        Err(format!("{wait:?} is not {days} days").into())
    }
}

/// Open a connection.
async fn connect() -> Outcome<Client> {
    let (client, connection) =
        tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection); // it carries the client's messages until the client is dropped
    Ok(client)
}

/// Count units of export; false when there are too few.
async fn consume(client: &impl GenericClient, customer: &str, amount: i64) -> Outcome<bool> {
    let row = client
        .query_one(
            "SELECT skene_consume($1, $2, $3)",
            &[&customer, &"export", &amount],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// The units of export a customer has used.
async fn used(client: &impl GenericClient, customer: &str) -> Outcome<i64> {
    let row = client
        .query_one(
            "SELECT used FROM skene_check($1, $2)",
            &[&customer, &"export"],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Which server process a connection has.
async fn backend(client: &impl GenericClient) -> Outcome<i32> {
    Ok(client
        .query_one("SELECT pg_backend_pid()", &[])
        .await?
        .try_get(0)?)
}

/// Count, and tell the whole decision.
async fn decide(client: &Client, customer: &str, feature: &str, amount: i64) -> Outcome<Row> {
    Ok(client
        .query_one(
            "SELECT * FROM skene_decide($1, $2, $3)",
            &[&customer, &feature, &amount],
        )
        .await?)
}

async fn boolean(client: &mut Client, customer: &str) -> Outcome {
    for expected in [true, true, true, false] {
        same(consume(client, customer, 1).await?, expected)?;
    }
    let row = client
        .query_one("SELECT skene_allows($1, $2)", &[&customer, &"export"])
        .await?;
    same(row.try_get(0)?, false)
}

async fn decision(client: &mut Client, customer: &str) -> Outcome {
    let row = decide(client, customer, "export", 2).await?;
    same(row.try_get("allowed")?, true)?;
    same(row.try_get("reason")?, "ok")?;
    same(row.try_get("feature")?, "export")?;
    same(row.try_get("used")?, 2_i64)?;
    same(row.try_get("usage_limit")?, Some(3_i64))?;
    same(row.try_get("remaining")?, Some(1_i64))?;
    near(
        row.try_get::<_, SystemTime>("resets_at")?
            .duration_since(SystemTime::now())?,
        30,
    )?;
    same(row.try_get("retry_after")?, None::<i64>)?;
    same(row.try_get("plan")?, "free")?;
    same(row.try_get("replayed")?, false)?;

    let row = decide(client, customer, "export", 2).await?;
    same(row.try_get("allowed")?, false)?;
    same(row.try_get("upgrade_plan")?, Some("pro"))?;
    near(
        Duration::from_secs(row.try_get::<_, i64>("retry_after")?.try_into()?),
        30,
    )?;

    let row = decide(client, customer, "search", 1 << 40).await?;
    same(row.try_get("used")?, 1_i64 << 40)?;
    same(row.try_get("usage_limit")?, None::<i64>)?;
    same(row.try_get("remaining")?, None::<i64>)?;
    same(row.try_get("resets_at")?, None::<SystemTime>)
}

/// Two ids that nobody has.
fn new_ids() -> (Uuid, i64) {
    (
        Uuid::new_v4(),
        (1 << 40) + (Uuid::new_v4().as_u64_pair().0 >> 2) as i64,
    )
}

async fn ids(client: &mut Client, customer: &str) -> Outcome {
    let (team, number) = new_ids();
    same(consume(client, customer, 1).await?, true)?;
    let row = client
        .query_one(
            "SELECT skene_consume(user_uuid => $1, feature => $2)",
            &[&team, &"export"],
        )
        .await?;
    same(row.try_get(0)?, true)?;
    let row = client
        .query_one(
            "SELECT skene_consume(user_bigint => $1, feature => $2)",
            &[&number, &"export"],
        )
        .await?;
    same(row.try_get(0)?, true)?;
    for id in [customer.to_string(), team.to_string(), number.to_string()] {
        same(used(client, &id).await?, 1)?;
    }
    Ok(())
}

/// Of a bare $1 the server says text, which neither is; query_typed says itself what it is.
async fn positional_ids(client: &mut Client, _: &str) -> Outcome {
    let (team, number) = new_ids();
    let sql = "SELECT skene_consume($1, $2)";
    let ids: [(&(dyn ToSql + Sync), Type, String); 2] = [
        (&team, Type::UUID, team.to_string()),
        (&number, Type::INT8, number.to_string()),
    ];
    for (id, its_type, text) in ids {
        same(client.query_one(sql, &[id, &"export"]).await.is_err(), true)?;
        same(used(client, &text).await?, 0)?;
        let rows = client
            .query_typed(sql, &[(id, its_type), (&"export", Type::TEXT)])
            .await?;
        same(rows[0].try_get(0)?, true)?;
        same(used(client, &text).await?, 1)?;
    }
    Ok(())
}

async fn named(client: &mut Client, customer: &str) -> Outcome {
    let sql = "SELECT used, replayed FROM skene_decide(user_id => $1, feature => $2, amount => $3, \
               idempotency_key => $4)";
    for replayed in [false, true] {
        let row = client
            .query_one(sql, &[&customer, &"export", &2_i64, &"order-1"])
            .await?;
        same(row.try_get("replayed")?, replayed)?;
        same(row.try_get("used")?, 2_i64)?;
    }
    Ok(())
}

async fn require(client: &mut Client, customer: &str) -> Outcome {
    let sql = "SELECT skene_require($1, $2, $3)";
    client.execute(sql, &[&customer, &"export", &2_i64]).await?;
    let error = client
        .execute(sql, &[&customer, &"export", &2_i64])
        .await
        .err()
        .ok_or("no error")?;
    let denied = error.as_db_error().ok_or("not the server's error")?;
    same(denied.code().code(), "PT402")?;
    let decision: Value = serde_json::from_str(denied.detail().ok_or("no detail")?)?;
    same(&decision["allowed"], &Value::from(false))?;
    same(&decision["reason"], &Value::from("limit_reached"))?;
    same(&decision["remaining"], &Value::from(1))?;
    same(used(client, customer).await?, 2)
}

async fn rollback(client: &mut Client, customer: &str) -> Outcome {
    let transaction = client.transaction().await?;
    same(consume(&transaction, customer, 3).await?, true)?;
    drop(transaction); // what is not committed is rolled back
    same(used(client, customer).await?, 0)?;
    let transaction = client.transaction().await?;
    same(consume(&transaction, customer, 1).await?, true)?;
    transaction.commit().await?;
    same(used(client, customer).await?, 1)
}

async fn savepoint(client: &mut Client, customer: &str) -> Outcome {
    let mut transaction = client.transaction().await?;
    same(consume(&transaction, customer, 1).await?, true)?;
    let savepoint = transaction.transaction().await?;
    same(consume(&savepoint, customer, 2).await?, true)?;
    drop(savepoint);
    same(consume(&transaction, customer, 1).await?, true)?;
    transaction.commit().await?;
    same(used(client, customer).await?, 2)
}

/// The same statement, prepared on one connection, on another, and used on the first again.
async fn pool(client: &mut Client, customer: &str) -> Outcome {
    let sql = "SELECT skene_consume($1, $2)";
    let mut other = connect().await?;
    let (here, there) = (client.prepare(sql).await?, other.prepare(sql).await?);
    let somebody_else = format!("{customer}-other");
    same(
        client
            .query_one(&here, &[&customer, &"export"])
            .await?
            .try_get(0)?,
        true,
    )?;
    let transaction = other.transaction().await?;
    same(
        backend(&transaction).await? == backend(client).await?,
        false,
    )?;
    same(
        transaction
            .query_one(&there, &[&customer, &"export"])
            .await?
            .try_get(0)?,
        true,
    )?;
    same(
        client
            .query_one(&here, &[&somebody_else, &"export"])
            .await?
            .try_get(0)?,
        true,
    )?;
    transaction.commit().await?;
    same(
        client
            .query_one(&here, &[&customer, &"export"])
            .await?
            .try_get(0)?,
        true,
    )?;
    same(used(client, customer).await?, 3)
}

async fn usage(client: &mut Client, customer: &str) -> Outcome {
    same(consume(client, customer, 1).await?, true)?;
    let rows = client
        .query(
            "SELECT * FROM skene_usage($1) ORDER BY feature",
            &[&customer],
        )
        .await?;
    same(rows.len(), 2)?;
    for (row, expected) in rows
        .iter()
        .zip([("export", 1_i64, Some(3_i64)), ("search", 0, None)])
    {
        same(
            (
                row.try_get("feature")?,
                row.try_get("used")?,
                row.try_get("usage_limit")?,
            ),
            expected,
        )?;
    }
    Ok(())
}

async fn webhook(client: &mut Client, _: &str) -> Outcome {
    let payload = std::fs::read(std::env::var("EVENT_FILE")?)?;
    let signature = std::env::var("EVENT_SIGNATURE")?;
    let row = client
        .query_one(
            "SELECT skene_stripe_webhook($1::bytea, $2)",
            &[&payload, &signature],
        )
        .await?;
    same(row.try_get(0)?, "applied")?;
    let payer = std::env::var("DRIVER_NAME")? + "-payer";
    let row = client
        .query_one("SELECT plan FROM skene_check($1, $2)", &[&payer, &"export"])
        .await?;
    same(row.try_get("plan")?, "pro")
}

/// The version in Cargo.lock.
fn version() -> Option<&'static str> {
    let (_, entry) =
        include_str!("../Cargo.lock").split_once("name = \"tokio-postgres\"\nversion = \"")?;
    entry.split('"').next()
}

/// What an error and its causes say, on one line.
fn why(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    let text: Vec<String> = causes.map(ToString::to_string).collect();
    text.join(": ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let name = std::env::var("DRIVER_NAME")?;
    println!("{name} version {}", version().ok_or("not in Cargo.lock")?);
    println!("{name} note {NOTE}");

    let mut failed = false;
    macro_rules! run {
        ($($check:ident)*) => { $(
            let customer = format!("{name}-{}", stringify!($check));
            match $check(&mut connect().await?, &customer).await {
                Ok(()) => println!("{name} {} ok", stringify!($check)),
                Err(error) => {
                    failed = true;
                    println!("{name} {} FAILED: {}", stringify!($check), why(&*error));
                }
            }
        )* };
    }
    run!(boolean decision ids positional_ids named require rollback savepoint pool usage webhook);
    std::process::exit(failed.into())
}
