// The peer on node-coap: readable, writable and observable resources, and links to 10,000 more.
//   node node_coap.js PORT LINKS
const coap = require('coap')
const [port, links] = process.argv.slice(2).map(Number)
const values = new Map()
const observers = new Map()
const link = number => `</d${number}/3303/0/5700>;rt="oma.lwm2m.ext:3303";if="core.s";obs`
const list = Array.from({ length: links }, (_, i) => link(i + 1)).join()

function observe (path, response) {
  if (!observers.has(path)) observers.set(path, new Set())
  observers.get(path).add(response)
  response.on('finish', () => observers.get(path).delete(response))
  response.write(values.get(path))
}

function answer (request, response) {
  const path = request.url
  if (path === '/.well-known/core') {
    response.setOption('Content-Format', 'application/link-format')
    response.end(list)
  } else if (request.method === 'PUT') {
    values.set(path, request.payload)
    for (const observer of observers.get(path) || []) observer.write(request.payload)
    response.code = '2.04'
    response.end()
  } else if (!values.has(path)) {
    response.code = '4.04'
    response.end()
  } else if (request.headers.Observe === 0) {
    observe(path, response)
  } else {
    response.end(values.get(path))
  }
}

coap.createServer(answer).listen(port, '127.0.0.1')
