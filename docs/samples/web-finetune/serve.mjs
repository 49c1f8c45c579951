// Serves this folder to the browser: node serve.mjs [PORT]

import fs from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const types = { '.html': 'text/html', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };

/** A server of folders; later ones are asked for what the first lack. Files outside them are not there. */
export function createServer(folders = [root]) {
  return http.createServer(async (request, response) => {
    const name = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    for (const folder of folders) {
      const file = path.resolve(folder, `.${name === '/' ? '/index.html' : name}`);
      if (!file.startsWith(path.resolve(folder) + path.sep)) break;
      try {
        const content = await fs.readFile(file);
        response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' }).end(content);
        return;
      } catch {
        // Not in this folder.
      }
    }
    response.writeHead(404).end();
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const port = Number(process.argv[2] ?? 8080);
  createServer().listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/`));
}
