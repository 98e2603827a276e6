// Drives the gateway with the V2 API's public SDK, as its users would: an
// administrator sets everything up, a pod logs in and reads, and what is not
// allowed fails. It prints a line for each step and ends with the number of them.
'use strict'

const assert = require('node:assert/strict')
const sdk = require('akeyless')

const env = process.env
let steps = 0

async function step(name, run) {
  try {
    const result = await run()
    steps++
    console.log('ok', name)
    return result
  } catch (err) {
    const answer = err.response ? `${err.status} ${err.response.text}` : err.stack
    throw new Error(`${name}: ${answer}`)
  }
}

// fails expects an answer that the SDK makes an error of.
async function fails(status, text, run) {
  const err = await run().then(() => null, (err) => err)
  assert.ok(err, 'it was allowed')
  assert.equal(err.status, status, err.response && err.response.text)
  assert.match(JSON.parse(err.response.text).error, text)
}

function api(base) {
  const client = new sdk.ApiClient(env.GATEWAY_URL + base)
  client.timeout = 20000
  return new sdk.V2Api(client)
}

// as makes an SDK's request, with a session.
function as(token, request, fields) {
  return Object.assign(request, { token }, fields)
}

async function administrate(v2, admin) {
  const method = await step('create an auth method', () =>
    v2.createAuthMethodK8S(as(admin, new sdk.CreateAuthMethodK8S('/sdk/pods'), {
      audience: env.AUDIENCE, 'bound-namespaces': [env.NAMESPACE], 'bound-sa-names': ['web'],
    })))
  assert.match(method.access_id, /^p-[a-z0-9]{12}k[a-z0-9]$/)
  const key = Buffer.from(method.prv_key, 'base64').toString()
  assert.match(key, /^-----BEGIN /)
  await step('create one by the other spelling', async () => {
    const other = await v2.authMethodCreateK8s(as(admin, new sdk.AuthMethodCreateK8s('sdk/other')))
    assert.equal(other.name, 'sdk/other')
  })
  await step('update an auth method', async () => {
    await v2.updateAuthMethodK8S(as(admin, new sdk.UpdateAuthMethodK8S('sdk/pods'), { 'bound-pod-names': ['mypod1', 'mypod2'], 'jwt-ttl': 30 }))
    await v2.authMethodUpdateK8s(as(admin, new sdk.AuthMethodUpdateK8s('sdk/other'), { 'access-expires': 1600000000, 'jwt-ttl': 20 }))
    await v2.authMethodUpdateK8s(as(admin, new sdk.AuthMethodUpdateK8s('sdk/other'), { description: 'Another' }))
    const { access_info: info } = await v2.getAuthMethod(as(admin, new sdk.GetAuthMethod('sdk/other')))
    assert.deepEqual([info.access_expires, info.jwt_ttl], [1600000000, 20], 'an update that names neither')
  })
  await step('get an auth method', async () => {
    const got = await v2.getAuthMethod(as(admin, new sdk.GetAuthMethod('sdk/pods')))
    assert.equal(got.auth_method_access_id, method.access_id)
    assert.equal(got.access_info.jwt_ttl, 30)
    assert.deepEqual(got.access_info.k8s_access_rules.bound_namespaces, [env.NAMESPACE])
    assert.deepEqual(got.access_info.k8s_access_rules.bound_pod_names, ['mypod1', 'mypod2'])
    assert.ok(got.creation_date instanceof Date && !isNaN(got.creation_date))
  })
  await step('list auth methods', async () => {
    const got = await v2.listAuthMethods(as(admin, new sdk.ListAuthMethods(), { filter: 'sdk/' }))
    assert.deepEqual(got.auth_methods.map((m) => m.auth_method_name).sort(), ['sdk/other', 'sdk/pods'])
  })
  await step('create an auth config', () =>
    v2.gatewayCreateK8SAuthConfig(as(admin, new sdk.GatewayCreateK8SAuthConfig(method.access_id, env.K8S_HOST, 'sdk-conf', method.prv_key), {
      'k8s-ca-cert': env.K8S_CA, 'token-reviewer-jwt': env.REVIEWER_JWT,
    })))
  await step('update an auth config', () =>
    v2.gatewayUpdateK8SAuthConfig(as(admin, new sdk.GatewayUpdateK8SAuthConfig(method.access_id, env.K8S_HOST, 'sdk-conf', 'k8s-conf', method.prv_key), {
      'k8s-ca-cert': env.K8S_CA,
    })))
  await step('get an auth config, without its secrets', async () => {
    const got = await v2.gatewayGetK8SAuthConfig(as(admin, new sdk.GatewayGetK8SAuthConfig('k8s-conf')))
    assert.equal(got.auth_method_access_id, method.access_id)
    assert.equal(got.k8s_host, env.K8S_HOST)
    assert.equal(got.k8s_token_reviewer_jwt, undefined)
    assert.equal(got.auth_method_prv_key_pem, undefined)
    const all = await v2.gatewayGetConfig(as(admin, new sdk.GatewayGetConfig()))
    assert.deepEqual(all.k8s_auths.k8s_auths.map((c) => c.name), ['k8s-conf'])
  })
  return method
}

async function secrets(v2, admin) {
  await step('create secrets', async () => {
    await v2.createSecret(as(admin, new sdk.CreateSecret('/apps/web/password', 'correct horse'), { tags: ['web'], description: 'Of the database' }))
    await v2.createSecret(as(admin, new sdk.CreateSecret('apps/other', 'not for the pod')))
  })
  await step('add a version', () => v2.updateSecretVal(as(admin, new sdk.UpdateSecretVal('/apps/web/password', 'battery staple'))))
  await step('read as real clients do', async () => {
    const item = await v2.describeItem(as(admin, new sdk.DescribeItem('/apps/web/password'), { 'show-versions': true }))
    assert.equal(item.item_type, 'STATIC_SECRET')
    assert.equal(item.item_name, '/apps/web/password')
    assert.equal(item.last_version, 2)
    assert.deepEqual(item.item_versions.map((v) => v.version), [1, 2])
    const values = await v2.getSecretValue(as(admin, new sdk.GetSecretValue(['/apps/web/password', 'apps/other'])))
    assert.deepEqual(values, { '/apps/web/password': 'battery staple', 'apps/other': 'not for the pod' })
    const old = await v2.getSecretValue(as(admin, new sdk.GetSecretValue(['/apps/web/password']), { version: 1 }))
    assert.deepEqual(old, { '/apps/web/password': 'correct horse' })
  })
  await step('list items', async () => {
    const got = await v2.listItems(as(admin, new sdk.ListItems(), { path: '/apps' }))
    assert.deepEqual(got.items.map((i) => i.item_name), ['/apps/other', '/apps/web/password'])
    assert.deepEqual(got.folders, ['/apps/web'])
  })
  await step('update an item, which leaves its description', async () => {
    await v2.updateItem(as(admin, new sdk.UpdateItem('/apps/web/password'), { 'add-tag': ['db'] }))
    const item = await v2.describeItem(as(admin, new sdk.DescribeItem('/apps/web/password')))
    assert.equal(item.item_metadata, 'Of the database')
    assert.deepEqual(item.item_tags, ['web', 'db'])
  })
}

async function roles(v2, admin) {
  await step('create a role with a rule', async () => {
    await v2.createRole(as(admin, new sdk.CreateRole('sdk/readers'), { description: 'Readers' }))
    await v2.setRoleRule(as(admin, new sdk.SetRoleRule(['read', 'list'], '/apps/web/*', 'sdk/readers')))
  })
  const { assoc_id: association } = await step('associate it', () =>
    v2.assocRoleAuthMethod(as(admin, new sdk.AssocRoleAuthMethod('sdk/pods', 'sdk/readers'), { 'sub-claims': { namespace: 'elsewhere' } })))
  await step('update the association', () =>
    v2.updateAssoc(as(admin, new sdk.UpdateAssoc(association), { 'sub-claims': { namespace: env.NAMESPACE, pod_name: 'mypod?' } })))
  await step('get the role', async () => {
    await v2.updateRole(as(admin, new sdk.UpdateRole('sdk/readers'), { 'new-name': 'sdk/web' }))
    const role = await v2.getRole(as(admin, new sdk.GetRole('/sdk/web')))
    assert.equal(role.comment, 'Readers')
    assert.deepEqual(role.rules.path_rules.map((r) => [r.path, r.capabilities, r.type]), [['/apps/web/*', ['read', 'list'], 'item-rule']])
    assert.deepEqual(role.role_auth_methods_assoc[0].auth_method_sub_claims, { namespace: [env.NAMESPACE], pod_name: ['mypod?'] })
    const all = await v2.listRoles(as(admin, new sdk.ListRoles(), { filter: 'sdk' }))
    assert.deepEqual(all.roles.map((r) => r.role_name), ['sdk/web'])
  })
  return association
}

// pod is a client in a pod: it logs in with its service account's token.
async function pod(v2, method) {
  const login = (token) => {
    const auth = Object.assign(new sdk.Auth(), {
      'access-id': method.access_id, 'access-type': 'k8s', 'k8s-auth-config-name': 'k8s-conf', 'k8s-service-account-token': token,
    })
    return v2.auth(auth)
  }
  const token = await step('log in from a pod, with the token in base64', async () => {
    const got = await login(Buffer.from(env.POD_TOKEN).toString('base64'))
    assert.ok(got.token && got.expiration && got.creds.expiry > Date.now() / 1000)
    return got.token
  })
  await step('validate the session', async () => {
    const request = new sdk.ValidateToken()
    request.token = token
    const got = await v2.validateToken(request)
    assert.ok(got.is_valid && got.ttl > 1700 && got.ttl <= 1800, JSON.stringify(got))
  })
  await step('describe its sub-claims', async () => {
    const got = await v2.describeSubClaims(as(token, new sdk.DescribeSubClaims()))
    assert.deepEqual(got.sub_claims.namespace, [env.NAMESPACE])
    assert.deepEqual(got.sub_claims.pod_name, ['mypod1'])
  })
  await step('read what the role allows, and nothing else', async () => {
    const got = await v2.getSecretValue(as(token, new sdk.GetSecretValue(['/apps/web/password'])))
    assert.equal(got['/apps/web/password'], 'battery staple')
    const list = await v2.listItems(as(token, new sdk.ListItems()))
    assert.deepEqual(list.items.map((i) => i.item_name), ['/apps/web/password'])
    const may = await v2.describePermissions(as(token, new sdk.DescribePermissions('/apps/web/password', 'item')))
    assert.deepEqual(may.client_permissions, ['read', 'list'])
    await fails(401, /unauthorized/, () => v2.getSecretValue(as(token, new sdk.GetSecretValue(['/apps/other']))))
    await fails(401, /unauthorized/, () => v2.getSecretValue(as(token, new sdk.GetSecretValue(['/apps/missing']))))
    await fails(404, /not found/, () => v2.describeItem(as(token, new sdk.DescribeItem('/apps/web/missing'))))
    await fails(401, /unauthorized/, () => v2.updateSecretVal(as(token, new sdk.UpdateSecretVal('/apps/web/password', 'x'))))
  })
  await step('be refused with another pod\'s token', () =>
    fails(401, /bound pod names mismatch/, () => login(env.OTHER_POD_TOKEN)))
  await step('revoke the session', async () => {
    const own = api('')
    own.apiClient.defaultHeaders.Authorization = `Bearer ${token}` // the SDK's call has no body
    await own.revokeCreds()
    await fails(401, /revoked/, () => v2.getSecretValue(as(token, new sdk.GetSecretValue(['/apps/web/password']))))
  })
}

async function account(v2, admin) {
  await step('change the account\'s settings', async () => {
    await v2.updateAccountSettings(as(admin, new sdk.UpdateAccountSettings(), { 'jwt-ttl-default': 20 }))
    const got = await v2.getAccountSettings(as(admin, new sdk.GetAccountSettings()))
    assert.equal(got.system_access_creds_settings.jwt_ttl_default, 20)
  })
}

async function deletions(v2, admin, association) {
  await step('delete everything', async () => {
    await v2.deleteRoleAssociation(as(admin, new sdk.DeleteRoleAssociation(association)))
    await v2.deleteRoleRule(as(admin, new sdk.DeleteRoleRule('/apps/web/*', 'sdk/web')))
    await v2.deleteRole(as(admin, new sdk.DeleteRole('sdk/web')))
    await v2.gatewayDeleteK8SAuthConfig(as(admin, new sdk.GatewayDeleteK8SAuthConfig('k8s-conf')))
    await v2.deleteAuthMethod(as(admin, new sdk.DeleteAuthMethod('sdk/pods')))
    await v2.deleteItem(as(admin, new sdk.DeleteItem('/apps/web/password')))
    await fails(404, /not found/, () => v2.getRole(as(admin, new sdk.GetRole('sdk/web'))))
    await fails(404, /not found/, () => v2.getAuthMethod(as(admin, new sdk.GetAuthMethod('sdk/pods'))))
    await fails(404, /not found/, () => v2.describeItem(as(admin, new sdk.DescribeItem('/apps/web/password'))))
  })
}

async function main() {
  for (const base of ['', '/v2', '/api/v2', '/']) {
    const v2 = api(base)
    const admin = await step(`log in as the administrator at ${base || 'the root'}`, async () => {
      const auth = new sdk.Auth() // access_key is the SDK's default
      auth['access-id'] = env.ACCESS_ID
      auth['access-key'] = env.ACCESS_KEY
      return (await v2.auth(auth)).token
    })
    if (base !== '') continue
    const method = await administrate(v2, admin)
    await secrets(v2, admin)
    const association = await roles(v2, admin)
    await pod(v2, method)
    await account(v2, admin)
    await step('see errors as the SDK has them', async () => {
      await fails(409, /already exists/, () => v2.createSecret(as(admin, new sdk.CreateSecret('apps/other', 'x'))))
      await fails(400, /name/, () => v2.createSecret(as(admin, new sdk.CreateSecret('apps//x', 'x'))))
      await fails(404, /unknown command/, () => v2.describeAssoc(as(admin, new sdk.DescribeAssoc(association))))
    })
    await deletions(v2, admin, association)
  }
  console.log(`${steps} steps`)
}

main().catch((err) => {
  console.error(err.message)
  process.exitCode = 1
})
