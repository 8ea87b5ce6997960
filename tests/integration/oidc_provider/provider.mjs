// A certified OpenID provider (npm oidc-provider) on a free port of 127.0.0.1, for the integration tests.
//
// Started as `node provider.mjs SCOPE…`, it prints one JSON line with its issuer. Each line on standard input is a
// command, answered with one line: `rotate` signs with new keys and goes on publishing the old ones, `withdraw` publishes
// the newest keys alone. It ends with its standard input.
//
// The resource chooses the token: urn:bedside:rs256, urn:bedside:es256, urn:bedside:expired, urn:other:rs256.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const scopes = process.argv.slice(2).join(' ');
let keys = [];
let handle;

function newKeys() {
  const pair = (type, options, alg) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID(),
  });
  return [pair('rsa', { modulusLength: 2048 }, 'RS256'), pair('ec', { namedCurve: 'P-256' }, 'ES256')];
}

function resourceServer(_ctx, resource) {
  const [, audience, kind] = resource.split(':');
  const alg = kind === 'es256' ? 'ES256' : 'RS256';
  return { scope: scopes, audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg } } };
}

function expire(_ctx, token, jwt) {
  if (token.resourceServer?.identifier().endsWith(':expired')) jwt.payload.exp = jwt.payload.iat - 3600;
}

function configure(issuer) {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'radiology-viewer',
      client_secret: 'a-secret-for-tests-only',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    },
    formats: { customizers: { jwt: expire } },
  });
  handle = provider.callback();
}

const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  keys = newKeys();
  configure(issuer);
  console.log(JSON.stringify({ issuer }));
  createInterface({ input: process.stdin })
    .on('line', (command) => {
      const fresh = command === 'rotate' ? newKeys() : keys.slice(0, 2);
      keys = command === 'rotate' ? [...fresh, ...keys] : fresh;
      configure(issuer);
      console.log(JSON.stringify({ done: command, kids: fresh.map((key) => key.kid) }));
    })
    .on('close', () => process.exit(0));
});
