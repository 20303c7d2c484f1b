//! A delegate's identity is its Secret: whoever has it comes back, and nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::Result;
use sortie_tests::{Product, ProductOptions};

const LIMIT: Duration = Duration::from_secs(60);

fn connected(line: &str) -> bool {
    line.contains("connected") && !line.contains("disconnected")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_secret_comes_back() -> Result<()> {
    let mut product = Product::start("e2e-identity").await?;
    // The token is used up and gone: only the identity counts from here on.
    product.forget_join_token()?;

    // A restarted container: the same pod, a new boot.
    product.kill_delegate().await?;
    product.start_delegate().await?;

    // A second replica beside it.
    let mut second = product.spawn_delegate("b")?;
    second.line(LIMIT, connected).await?;
    let delegates = product.sortie(&["get", "delegate", "-o", "json"]).await?;
    let instances = delegates
        .stdout
        .matches(&format!("{}-", product.namespace()))
        .count();
    assert!(instances >= 2, "{}", delegates.stdout);

    // Deleted pods: both go, a third comes.
    second.kill().await?;
    product.kill_delegate().await?;
    let mut third = product.spawn_delegate("c")?;
    third.line(LIMIT, connected).await?;
    third.terminate(LIMIT).await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_was_away_longer_than_its_certificate_comes_back() -> Result<()> {
    let options = ProductOptions {
        certificate_lifetime: Some("6s".to_owned()),
        ..ProductOptions::default()
    };
    let mut product = Product::start_with("e2e-expired", options).await?;
    product.forget_join_token()?;
    product.kill_delegate().await?;
    // The certificate's life has to pass; nothing announces that.
    tokio::time::timeout(Duration::from_secs(8), std::future::pending::<()>())
        .await
        .ok();
    product.start_delegate().await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_delegate_is_cut_off_at_once_and_for_good() -> Result<()> {
    let mut product = Product::start("e2e-revoke").await?;
    let name = product.namespace().to_owned();
    product.sortie(&["delegate", "revoke", &name]).await?;
    product
        .delegate()?
        .line(LIMIT, |line| line.contains("revoked"))
        .await?;
    product.kill_delegate().await?;
    let mut again = product.spawn_delegate("b")?;
    again.line(LIMIT, |line| line.contains("revoked")).await?;
    assert!(!again.output().lines().any(connected), "{}", again.output());
    again.kill().await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_good_for_what_it_says_only() -> Result<()> {
    let product = Product::start("e2e-tokens").await?;
    // Used up: the product's own delegate was the one use.
    let mut stranger = product.spawn_stranger("used-up", None)?;
    stranger
        .line(LIMIT, |line| line.contains("SRT-S213"))
        .await?;
    stranger.kill().await?;

    // A token whose control plane is another one: its CA hash does not fit.
    let token = product.join_token().await?;
    let (rest, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", "A".repeat(43));
    let mut stranger = product.spawn_stranger("other-ca", Some(&forged))?;
    stranger.line(LIMIT, |line| line.contains("SRT-D")).await?;
    assert!(
        !stranger.output().contains(&forged),
        "the token is in the log"
    );
    stranger.kill().await?;
    product.finish().await
}
