// MQTT.js logs in by SCRAM-SHA-256, authenticates again while it publishes, and prints how it went.
// Arguments: port, user, password.

const { createHash, createHmac, pbkdf2Sync, randomBytes } = require('node:crypto')
const mqtt = require('mqtt')

const [port, user, password] = process.argv.slice(1)
const METHOD = 'SCRAM-SHA-256'
const MESSAGES = 100

const sign = (key, text) => createHmac('sha256', key).update(text).digest()

/** The client's half: its first message, its answer to the server's, and what the server must end with. */
function scram() {
    const bare = `n=${user},r=${randomBytes(18).toString('base64')}`
    const half = { first: `n,,${bare}` }
    half.answer = (challenge) => {
        const [nonce, salt, iterations] = challenge.split(',').map((part) => part.slice(2))
        const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256')
        const clientKey = sign(salted, 'Client Key')
        const unproved = `c=biws,r=${nonce}`
        const all = `${bare},${challenge},${unproved}`
        const signature = sign(createHash('sha256').update(clientKey).digest(), all)
        const proof = Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]))
        half.end = `v=${sign(sign(salted, 'Server Key'), all).toString('base64')}`
        return `${unproved},p=${proof.toString('base64')}`
    }
    return half
}

const said = (data) => ({ authenticationMethod: METHOD, authenticationData: Buffer.from(data) })

let half = scram()
const client = mqtt.connect({
    host: '127.0.0.1',
    port: Number(port),
    protocolVersion: 5,
    reconnectPeriod: 0,
    properties: said(half.first),
})

function end(said) {
    console.log(said)
    client.end(true)
}

let acknowledged = 0
let again = false
function checkDone() {
    if (again && acknowledged === MESSAGES) end('done')
}

client.handleAuth = (packet, callback) => {
    const data = packet.properties.authenticationData.toString()
    if (packet.reasonCode === 0x18) {
        callback(null, { cmd: 'auth', reasonCode: 0x18, properties: said(half.answer(data)) })
        return
    }
    again = data === half.end
    callback(again ? null : new Error('the server does not know the password'))
    checkDone()
}

client.on('error', (error) => end(`error ${error.code}`))
client.on('connect', ({ properties }) => {
    if (properties.authenticationMethod !== METHOD || properties.authenticationData.toString() !== half.end) {
        end('the server does not know the password')
        return
    }
    half = scram()
    client._sendPacket({ cmd: 'auth', reasonCode: 0x19, properties: said(half.first) })
    for (let n = 0; n < MESSAGES; n += 1) {
        client.publish('topic', String(n), { qos: 1 }, (error) => {
            if (error) return
            acknowledged += 1
            checkDone()
        })
    }
})
