// Prints the results of an application's situations as lines of TAP.
const situations = [];

export function situation(name, run) {
	situations.push([name, run]);
}

export async function runAll(end) {
	let failed = 0;
	for (const [name, run] of situations) {
		try {
			await run();
			console.log(`ok - ${name}`);
		} catch (error) {
			failed++;
			console.log(`not ok - ${name}`);
			console.log(String(error.stack ?? error).replace(/^/gm, '# '));
			if (error.cause) console.log(String(error.cause).replace(/^/gm, '# '));
		}
	}
	await end();
	process.exitCode = failed ? 1 : 0;
}
