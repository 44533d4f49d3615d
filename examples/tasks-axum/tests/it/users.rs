//! The app's own rows of users, admins, and people who were switched off.

use reqwest::Method;
use serde_json::json;

use crate::world::{START, World, on_both, own_routes, protected};

on_both!(
    the_profile_is_what_the_token_says,
    many_first_requests_make_one_row,
    of_many_first_tokens_the_newest_counts,
    many_people_at_once_are_all_served,
    the_newest_token_describes_the_user,
    nobody_signs_up_as_an_admin,
    admins_see_all_and_switch_off_and_on,
    who_is_switched_off_is_refused_everywhere,
);

async fn the_profile_is_what_the_token_says(world: World) {
    let ada = world.person("ada").await;
    world.advance(60);
    let path = format!("/api/users/{}/profile", ada.id);
    let reply = world.get(&ada.token, &path).await;
    reply.expect(200);
    assert_eq!(
        reply.text,
        format!(
            r#"{{"id":"{}","email":"ada@example.com","name":"ada","role":null,"is_active":true,"created_at":"2026-09-21T14:14:20.000Z"}}"#,
            ada.id
        )
    );
    // It is the auth server's to change.
    let reply = world.call(&ada.token, Method::PATCH, &path, Some(json!({ "name": "x" }))).await;
    reply.refused(405, "Method Not Allowed");
}

async fn many_first_requests_make_one_row(world: World) {
    let ada = world.person("ada").await;
    let world = std::sync::Arc::new(world);
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (world, ada) = (world.clone(), ada.clone());
        requests.spawn(async move {
            let body = json!({ "title": n.to_string() });
            world.call(&ada.token, Method::POST, "/api/v1/tasks", Some(body)).await.expect(201);
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.count("select count(*) from users").await, 1);
    assert_eq!(world.count("select count(*) from tasks").await, 50);
}

/// All of them find no row, and write theirs in whatever order.
async fn of_many_first_tokens_the_newest_counts(world: World) {
    let ada = world.person("ada").await;
    let signer = world.signer().await;
    let world = std::sync::Arc::new(world);
    let mut tokens = Vec::new();
    for n in 0..30 {
        tokens.push(signer.sign(&ada, json!({ "name": format!("n{n}"), "iat": START - 30 + n })).await);
    }
    let mut requests = tokio::task::JoinSet::new();
    for token in tokens {
        let world = world.clone();
        requests.spawn(async move { world.get(&token, "/api/v1/tasks").await.expect(200) });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.count("select count(*) from users where name = 'n29'").await, 1);
}

/// Sign-ups and tasks are written to one database, by Portcullis and by the app.
async fn many_people_at_once_are_all_served(world: World) {
    let world = std::sync::Arc::new(world);
    let mut people = tokio::task::JoinSet::new();
    for n in 0..8 {
        let world = world.clone();
        people.spawn(async move {
            let person = world.person(&format!("p{n}")).await;
            for _ in 0..5 {
                world.task(&person, "mine").await;
            }
            let list = world.get(&person.token, "/api/v1/tasks").await.expect(200);
            let list = list.as_array().unwrap();
            assert!(list.len() == 5 && list.iter().all(|task| task["user_id"] == *person.id), "{list:?}");
        });
    }
    while let Some(done) = people.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.count("select count(*) from users").await, 8);
}

async fn the_newest_token_describes_the_user(world: World) {
    let ada = world.person("ada").await;
    let path = format!("/api/users/{}/profile", ada.id);
    let name = async |token: &str| world.get(token, &path).await.expect(200)["name"].clone();
    assert_eq!(name(&ada.token).await, "ada");
    world.advance(60);
    // The session of the cookie is remembered for the claims: the change goes through the server.
    world.auth("/update-user", &ada.cookie, Some(json!({ "name": "Ada Lovelace" }))).await.expect(200);
    let newer = world.token(&ada.cookie).await;
    assert_eq!(name(&newer).await, "Ada Lovelace");
    assert_eq!(name(&ada.token).await, "Ada Lovelace", "the older token is still good, and describes nobody");
    assert_eq!(name(&newer).await, "Ada Lovelace");

    // A newer token that says nothing new counts, too: what was made before it is out of date.
    let signer = world.signer().await;
    world.advance(60);
    let between = signer.sign(&ada, json!({ "name": "between" })).await;
    world.advance(60);
    let newest = world.token(&ada.cookie).await;
    assert_eq!(name(&newest).await, "Ada Lovelace");
    assert_eq!(name(&between).await, "Ada Lovelace");
    assert_eq!(world.count("select count(*) from users").await, 1);
}

async fn nobody_signs_up_as_an_admin(world: World) {
    let body = json!({ "name": "eve", "email": "eve@example.com", "password": "correct horse battery", "role": "admin" });
    let reply = world.auth("/sign-up/email", "", Some(body)).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let eve = world.person("eve").await;
    let reply = world.auth("/update-user", &eve.cookie, Some(json!({ "role": "admin" }))).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let token = world.token(&eve.cookie).await;
    world.get(&token, "/api/admin/users").await.refused(403, "Admin access required");
}

async fn admins_see_all_and_switch_off_and_on(world: World) {
    let ada = world.person("ada").await;
    world.task(&ada, "mine").await;
    world.advance(1);
    let admin = world.admin().await;
    let list = world.get(&admin.token, "/api/admin/users").await.expect(200);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&admin.id, &ada.id]);
    assert_eq!(list[0]["role"], "user,admin");
    assert_eq!(list[1], world.get(&ada.token, &format!("/api/users/{}/profile", ada.id)).await.expect(200));
    let page = world.get(&admin.token, "/api/admin/users?limit=1&offset=1").await.expect(200);
    assert_eq!(page, json!([list[1]]));
    world.get(&admin.token, "/api/admin/users?limit=0").await.expect(422);

    let set = async |id: &str, body| {
        world.call(&admin.token, Method::PATCH, &format!("/api/admin/users/{id}"), Some(body)).await
    };
    let off = set(&ada.id, json!({ "is_active": false })).await.expect(200);
    assert_eq!((&off["id"], &off["is_active"]), (&json!(ada.id), &json!(false)));
    world.get(&ada.token, "/api/v1/tasks").await.refused(403, "Inactive user");
    // A new session and a new token change nothing.
    let again = world.again(&ada).await;
    world.get(&again.token, "/api/v1/tasks").await.refused(403, "Inactive user");
    set(&ada.id, json!({ "is_active": true })).await.expect(200);
    assert_eq!(world.get(&ada.token, "/api/v1/tasks").await.expect(200).as_array().unwrap().len(), 1);

    for id in ["nobody", "%00", "%FF"] {
        set(id, json!({ "is_active": false })).await.refused(404, "User not found");
    }
    let missing = set(&ada.id, json!({})).await.expect(422);
    assert_eq!(missing["detail"][0]["loc"], json!(["body", "is_active"]));
    for body in [
        json!({ "is_active": "no" }),
        json!({ "is_active": null }),
        json!({ "is_active": true, "role": "admin" }),
    ] {
        set(&ada.id, body).await.expect(422);
    }
    let own = set(&admin.id, json!({ "is_active": false })).await.expect(422);
    assert_eq!(own["detail"][0]["loc"], json!(["body", "is_active"]));
    set(&admin.id, json!({ "is_active": true })).await.expect(200);

    // An admin's own things are nobody else's, and nobody else's are an admin's.
    let theirs = format!("/api/users/{}/todos", ada.id);
    world.get(&admin.token, &theirs).await.refused(403, "You can only access your own resources");
    for (method, path, body) in crate::world::admin_routes(&admin.id) {
        world.call(&ada.token, method, &path, body).await.refused(403, "Admin access required");
    }
    // Parts of the word are none.
    let signer = world.signer().await;
    for role in ["administrator", "super-admin", "ADMIN", "user", ""] {
        let token = signer.sign(&ada, json!({ "role": role })).await;
        world.get(&token, "/api/admin/users").await.refused(403, "Admin access required");
    }
}

async fn who_is_switched_off_is_refused_everywhere(world: World) {
    let admin = world.admin().await;
    let id = world.task(&admin, "mine").await;
    world.sql(format!("update users set is_active = false where id = '{}'", admin.id)).await;
    for (method, path, body) in protected(&admin.id, &id) {
        world.call(&admin.token, method, &path, body).await.refused(403, "Inactive user");
    }
    // Whose path it is is looked at first: nothing is asked of the database for it.
    for (method, path, body) in own_routes("another", &id) {
        let others = path.contains("/another/");
        let why = if others { "You can only access your own resources" } else { "Inactive user" };
        world.call(&admin.token, method, &path, body).await.refused(403, why);
    }
}
