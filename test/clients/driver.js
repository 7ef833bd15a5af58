// A client for test/t/800_client_keys.pl: requests as JSON lines in, answers as JSON lines out.
//
//   node driver.js EXAMPLE     the example of docs/client-keys.md, which gives open() and seal()
//
// {"do": "open", "with": "tweetnacl" or "libsodium", "wire": ..., "keys": {VERSION: base64}}
// {"do": "seal", "with": ..., "text": ..., "version": ..., "keys": ...}
// {"do": "derive", "master": hex, "salt": text, "info": text}: base64, by HKDF-SHA256
// An answer is {"value": ...} or {"error": words}.
'use strict';
const crypto = require('crypto');
const readline = require('readline');
const sodium = require('libsodium-wrappers');

const tweetnacl = require(require('path').resolve(process.argv[2]));
const standard = sodium.base64_variants.ORIGINAL;

const libsodium = {
	open(wire, keys) {
		return sodium.to_string(sodium.crypto_secretbox_open_easy(sodium.from_base64(wire.encrypted_payload, standard),
			sodium.from_base64(wire.nonce, standard), keys[wire.key_version]));
	},
	seal(text, keys, version) {
		const nonce = sodium.randombytes_buf(sodium.crypto_secretbox_NONCEBYTES);
		const box = sodium.crypto_secretbox_easy(sodium.from_string(text), nonce, keys[version]);
		return {
			encrypted: true, key_version: version, content: '',
			encrypted_payload: sodium.to_base64(box, standard), nonce: sodium.to_base64(nonce, standard)
		};
	}
};

function answer(request) {
	if (request.do === 'derive')
		return Buffer.from(crypto.hkdfSync('sha256', Buffer.from(request.master, 'hex'), request.salt, request.info, 32)).toString('base64');
	const library = { tweetnacl, libsodium }[request.with];
	const keys = {};
	for (const [version, key] of Object.entries(request.keys)) keys[version] = new Uint8Array(Buffer.from(key, 'base64'));
	return request.do === 'open' ? library.open(request.wire, keys) : library.seal(request.text, keys, request.version);
}

sodium.ready.then(() => {
	readline.createInterface({ input: process.stdin }).on('line', (line) => {
		let reply;
		try {
			reply = { value: answer(JSON.parse(line)) };
		} catch (error) {
			reply = { error: String(error.message) };
		}
		process.stdout.write(JSON.stringify(reply) + '\n');
	});
});
