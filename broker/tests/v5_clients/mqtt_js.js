// What MQTT.js sees of the broker in MQTT 5.0. Arguments: port, function, protocol of the URL.
//
// Ends with an error where something is not as it should be. Waits for events, never for time to pass.

const assert = require('node:assert/strict')
const mqtt = require('mqtt')

const [port, name, protocol] = process.argv.slice(1)
const PATIENCE = 30_000 // milliseconds
const LONG = 3600 // seconds; longer than any test

/** Gives the promise's value, or fails when patience ends. */
function soon(promise, what) {
    let timer
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`never: ${what}`)), PATIENCE)
    })
    return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

class Queue {
    items = []
    waiting = []

    put(item) {
        const waiting = this.waiting.shift()
        if (waiting) waiting(item)
        else this.items.push(item)
    }

    next(what) {
        if (this.items.length > 0) return Promise.resolve(this.items.shift())
        return soon(new Promise((resolve) => this.waiting.push(resolve)), what)
    }
}

class Client {
    messages = new Queue()
    /** All packets that came, by their type. */
    received = {}

    /** Connects. `properties` are those of CONNECT. */
    static async open(properties = {}, options = {}) {
        const client = new Client()
        client.mqtt = mqtt.connect({
            protocol,
            host: '127.0.0.1',
            port: Number(port),
            path: '/mqtt',
            rejectUnauthorized: false,
            protocolVersion: 5,
            reconnectPeriod: 0,
            properties,
            ...options,
        })
        client.mqtt.on('message', (topic, payload, packet) => client.messages.put({ ...packet, topic, payload: payload.toString() }))
        client.mqtt.on('packetreceive', (packet) => (client.received[packet.cmd] ??= []).push(packet))
        client.disconnected = new Promise((resolve) => client.mqtt.on('disconnect', resolve))
        client.closed = new Promise((resolve) => client.mqtt.on('close', resolve))
        const failed = new Promise((_, reject) => client.mqtt.on('error', reject))
        // Once it is connected an error matters to those who look.
        client.failed = failed.catch((error) => error)
        const connected = new Promise((resolve) => client.mqtt.on('connect', resolve))
        client.connack = await soon(Promise.race([connected, failed]), 'CONNACK')
        return client
    }

    static async subscribed(filter, qos, properties, options) {
        const client = await Client.open(properties, options)
        await client.subscribe(filter, { qos })
        return client
    }

    async subscribe(filter, options) {
        await soon(this.mqtt.subscribeAsync(filter, options), 'SUBACK')
    }

    async unsubscribe(filters) {
        await soon(this.mqtt.unsubscribeAsync(filters), 'UNSUBACK')
        return this.received.unsuback.at(-1).granted
    }

    async publish(topic, payload, options = { qos: 1 }) {
        await soon(this.mqtt.publishAsync(topic, payload, options), 'acknowledgement')
    }

    next() {
        return this.messages.next('message')
    }

    async payloads(count) {
        const payloads = []
        while (payloads.length < count) payloads.push((await this.next()).payload)
        return payloads
    }

    /** What the broker had for this client has come: the answer came behind it. */
    async expectNothing() {
        await this.unsubscribe('nothing')
        assert.deepEqual(this.messages.items, [])
    }

    /** The connection, as if the network failed. */
    async lose() {
        this.mqtt.stream.destroy()
        await soon(this.closed, 'the end')
    }

    async close(options = {}) {
        await soon(this.mqtt.endAsync(false, options), 'the end')
        assert.deepEqual(this.messages.items, [])
    }
}

const ascending = (numbers) => [...numbers].sort((a, b) => a - b)
const numbers = (count) => Array.from({ length: count }, (_, n) => String(n))

const CONTENT = {
    payloadFormatIndicator: true,
    contentType: 'text/plain; charset=utf-8',
    responseTopic: 'answers/here',
    correlationData: Buffer.from(Array.from({ length: 256 }, (_, n) => n)),
    // A key's values are in order; between keys MQTT.js keeps none.
    userProperties: { b: ['2', '1', '2'], a: '1', ü: 'ß' },
}

function checkContent({ properties }) {
    // The parser's object has no prototype.
    assert.deepEqual({ ...properties.userProperties }, CONTENT.userProperties)
    for (const key of Object.keys(CONTENT).filter((key) => key !== 'userProperties')) {
        assert.deepEqual(properties[key], CONTENT[key])
    }
}

const tests = {
    async properties_go_on_unaltered() {
        const subscriber = await Client.subscribed('t', 2)
        const publisher = await Client.open()
        for (const qos of [0, 1, 2]) {
            await publisher.publish('t', 'grüß dich', {
                qos,
                retain: true,
                properties: { messageExpiryInterval: LONG, ...CONTENT },
            })
        }
        const retained = await Client.subscribed('t', 2)
        for (const [client, all] of [[subscriber, [0, 1, 2]], [retained, [2]]]) {
            for (const qos of all) {
                const message = await client.next()
                assert.deepEqual([message.payload, message.qos], ['grüß dich', qos])
                checkContent(message)
                const left = message.properties.messageExpiryInterval
                assert(left <= LONG && left >= LONG - PATIENCE / 1000, left)
            }
        }
        for (const client of [subscriber, retained, publisher]) await client.close()
    },

    async messages_expire() {
        const absent = { clientId: 'absent', clean: false }
        await (await Client.subscribed('t', 1, { sessionExpiryInterval: LONG }, absent)).close()
        const publisher = await Client.open()
        const publish = (topic, payload, seconds, retain) =>
            publisher.publish(topic, payload, { qos: 1, retain, properties: { messageExpiryInterval: seconds } })
        await publish('t', 'long', LONG, false)
        await publish('t', 'short', 1, false)
        // Published last, so that it is the last to expire.
        await publish('kept', 'short', 1, true)
        for (let isKept = true; isKept; ) {
            const reader = await Client.subscribed('kept', 0)
            await reader.unsubscribe('kept')
            isKept = reader.messages.items.pop() !== undefined
            await reader.close()
        }
        const client = await Client.open({ sessionExpiryInterval: LONG }, absent)
        const { payload, properties } = await client.next()
        assert.equal(payload, 'long')
        // Counted down by the time it waited.
        const left = properties.messageExpiryInterval
        assert(left < LONG && left >= LONG - PATIENCE / 1000, left)
        await client.expectNothing()
        await client.close()
        await publisher.close()
    },

    async it_sends_topic_aliases_by_itself() {
        const subscriber = await Client.subscribed('#', 2)
        // More topics than aliases, so that they are used again.
        const topics = [...numbers(30), ...numbers(5), ...numbers(30)].map((n) => `a/topic/with/number/${n}`)
        const options = [{ autoUseTopicAlias: true, autoAssignTopicAlias: true }, { autoUseTopicAlias: true }]
        for (const option of options) {
            const publisher = await Client.open({}, option)
            const sent = []
            publisher.mqtt.on('packetsend', (packet) => packet.cmd === 'publish' && sent.push(packet))
            if (!option.autoAssignTopicAlias) {
                const properties = { topicAlias: publisher.connack.properties.topicAliasMaximum }
                await publisher.publish(topics[0], '0', { qos: 1, properties })
                assert.equal((await subscriber.next()).topic, topics[0])
            }
            for (const qos of [0, 1, 2]) {
                for (const [n, topic] of topics.entries()) await publisher.publish(topic, String(n), { qos })
                for (const [n, topic] of topics.entries()) {
                    const message = await subscriber.next()
                    assert.deepEqual([message.topic, message.payload, message.qos], [topic, String(n), qos])
                    assert.equal(message.properties?.topicAlias, undefined)
                }
            }
            assert(sent.some((packet) => packet.topic === '' && packet.properties.topicAlias > 0))
            await publisher.close()
        }
        await subscriber.close()
    },

    async it_takes_topic_aliases() {
        const subscriber = await Client.subscribed('#', 2, { topicAliasMaximum: 3 })
        const publisher = await Client.open()
        // A topic gets an alias when it comes again, from another one if need be.
        const topics = numbers(5).flatMap((n) => Array(3).fill(`a/topic/with/number/${n}`))
        let without = 0
        // At QoS 2 MQTT.js gives its user the empty topic of the packet.
        for (const qos of [0, 1]) {
            for (const [n, topic] of topics.entries()) await publisher.publish(topic, String(n), { qos })
            for (const [n, topic] of topics.entries()) {
                const message = await subscriber.next()
                assert.deepEqual([message.topic, message.payload, message.qos], [topic, String(n), qos])
            }
        }
        for (const { topic, properties } of subscriber.received.publish) {
            if (topic === '') without += 1
            assert(!properties?.topicAlias || properties.topicAlias <= 3)
        }
        assert(without >= 5, 'the broker assigned an alias for each topic')
        await subscriber.close()
        await publisher.close()
    },

    async of_a_shared_subscription_one_member_gets_each_message() {
        const members = []
        for (let n = 0; n < 3; n += 1) members.push(await Client.subscribed('$share/group/t/+', n))
        const plain = await Client.subscribed('t/#', 2)
        const publisher = await Client.open()
        for (const payload of numbers(90)) await publisher.publish('t/x', payload, { qos: 2 })
        assert.deepEqual(await plain.payloads(90), numbers(90))
        const all = []
        for (const [qos, member] of members.entries()) {
            // Behind the first UNSUBACK all have come, behind the second all of QoS 2 are released.
            await member.unsubscribe('nothing')
            await member.unsubscribe('nothing')
            const own = member.messages.items.splice(0)
            assert(own.length > 0 && own.every((message) => message.qos === qos))
            const payloads = own.map(({ payload }) => Number(payload))
            assert.deepEqual(payloads, ascending(payloads))
            all.push(...payloads)
        }
        assert.deepEqual(ascending(all).map(String), numbers(90))
        for (const client of [...members, plain, publisher]) await client.close()
    },

    async subscriptions_have_options_and_identifiers() {
        const [client, other] = [await Client.open(), await Client.open()]
        const identified = (qos, subscriptionIdentifier) => ({ qos, properties: { subscriptionIdentifier } })
        await client.subscribe('t/#', identified(0, 268435455))
        await client.subscribe('t/+', identified(2, 1))
        await client.subscribe('u', identified(1, 7))
        await other.publish('t/a', 'both', { qos: 2 })
        // MQTT.js shows a QoS 2 message when PUBREL comes: what is sent meanwhile would overtake it.
        const both = await client.next()
        await other.publish('u', 'one', { qos: 2 })
        const one = await client.next()
        assert.equal(both.qos, 2)
        assert.deepEqual(ascending(both.properties.subscriptionIdentifier), [1, 268435455])
        assert.deepEqual(one.properties.subscriptionIdentifier, 7)
        assert.deepEqual(await client.unsubscribe(['t/#', 't/+', 'u']), [0, 0, 0])
        // No Local.
        await client.subscribe('t', { qos: 1, nl: true })
        await client.publish('t', 'own')
        await other.publish('t', 'other')
        assert.deepEqual(await client.payloads(1), ['other'])
        // Retain As Published.
        const retain = { qos: 1, retain: true }
        await other.publish('t', 'not as published', retain)
        await client.subscribe('t', { qos: 1, rap: true, rh: 2 })
        await other.publish('t', 'as published', retain)
        await other.publish('t', 'as published, without')
        const got = [await client.next(), await client.next(), await client.next()]
        assert.deepEqual(got.map((message) => message.retain), [false, true, false])
        // Retain Handling.
        await client.subscribe('t', { qos: 1, rh: 1 })
        await client.expectNothing()
        await client.subscribe('+', { qos: 1, rh: 1 })
        assert.deepEqual(await client.payloads(1), ['as published'])
        await client.subscribe('t', { qos: 1, rh: 0 })
        assert.deepEqual(await client.payloads(1), ['as published'])
        await client.close()
        await other.close()
    },

    async wills_wait_for_the_end_of_the_delay_or_the_session() {
        const heir = await Client.subscribed('will/+', 1)
        const willing = (clientId, willDelayInterval, sessionExpiryInterval, clean = true) =>
            Client.open(
                { sessionExpiryInterval },
                {
                    clientId,
                    clean,
                    will: {
                        topic: `will/${clientId}`,
                        payload: clientId,
                        qos: 1,
                        properties: { willDelayInterval, messageExpiryInterval: LONG, ...CONTENT },
                    },
                },
            )
        const expectWill = async (clientId) => {
            const message = await heir.next()
            assert.deepEqual([message.topic, message.payload], [`will/${clientId}`, clientId])
            checkContent(message)
        }
        // The session ends first: with the connection, or a second later.
        await (await willing('connection', LONG, 0)).lose()
        await expectWill('connection')
        await (await willing('session', LONG, 1)).lose()
        await expectWill('session')
        // Or the delay does.
        await (await willing('delay', 1, LONG)).lose()
        await expectWill('delay')
        // The client is back in time.
        await (await willing('back', LONG, LONG)).lose()
        const back = await willing('back', LONG, LONG, false)
        assert(back.connack.sessionPresent)
        await back.close()
        // It says that it wants its will.
        await (await willing('wanted', 0, LONG)).close({ reasonCode: 4 })
        await expectWill('wanted')
        await heir.expectNothing()
        await heir.close()
    },

    async sessions_expire() {
        const open = (sessionExpiryInterval, clean = false) =>
            Client.open({ sessionExpiryInterval }, { clientId: 'session', clean })
        let client = await open(LONG, true)
        await client.subscribe('t', { qos: 2 })
        await client.close()
        const publisher = await Client.open()
        for (const payload of numbers(50)) await publisher.publish('t', payload, { qos: 2 })
        client = await open(LONG)
        assert(client.connack.sessionPresent)
        assert.deepEqual(await client.payloads(50), numbers(50))
        // Changed on leaving.
        await client.close({ properties: { sessionExpiryInterval: 0 } })
        client = await open(0)
        assert(!client.connack.sessionPresent)
        await client.close()
        client = await open(LONG)
        assert(!client.connack.sessionPresent)
        await client.close()
        await publisher.close()
    },

    async it_stays_within_its_receive_maximum() {
        const publisher = await Client.open()
        for (const qos of [1, 2]) {
            // It counts those at QoS 2 itself, and fails at one too many.
            const client = await Client.subscribed('t', qos, { receiveMaximum: 1 })
            await Promise.all(numbers(100).map((payload) => publisher.publish('t', payload, { qos })))
            assert.deepEqual(await client.payloads(100), numbers(100))
            await client.close()
        }
        await publisher.close()
    },

    async it_keeps_to_the_brokers_receive_maximum() {
        const subscriber = await Client.subscribed('t', 2)
        const publisher = await Client.open()
        assert.equal(publisher.connack.properties.receiveMaximum, 1)
        // It leaves counting to its user.
        for (const qos of [1, 2]) {
            for (const payload of numbers(20)) await publisher.publish('t', payload, { qos })
            assert.deepEqual(await subscriber.payloads(20), numbers(20))
        }
        await subscriber.close()
        await publisher.close()
    },

    async what_is_too_large_is_not_sent() {
        const small = await Client.subscribed('t', 2, { maximumPacketSize: 100 })
        const publisher = await Client.open()
        for (const qos of [0, 1, 2]) {
            await publisher.publish('t', 'x'.repeat(100), { qos })
            await publisher.publish('t', 'small', { qos })
        }
        assert.deepEqual(await small.payloads(3), ['small', 'small', 'small'])
        await small.close()
        // The other way.
        publisher.mqtt.publish('t', 'x'.repeat(publisher.connack.properties.maximumPacketSize), { qos: 0 }, () => {})
        assert.equal((await soon(publisher.disconnected, 'DISCONNECT')).reasonCode, 0x95)
    },

    async acknowledgements_say_more() {
        const client = await Client.open({}, { clientId: '', clean: true })
        assert(client.connack.properties.assignedClientIdentifier)
        await client.publish('nobody', '', { qos: 1 })
        assert.equal(client.received.puback[0].reasonCode, 0x10)
        await client.publish('nobody', '', { qos: 2 })
        assert.equal(client.received.pubrec[0].reasonCode, 0x10)
        await client.subscribe(['one', 'two/#'], { qos: 2 })
        assert.deepEqual(client.received.suback[0].granted, [2, 2])
        assert.deepEqual(await client.unsubscribe(['two/#', 'two/#', 'one']), [0, 0x11, 0])
        await client.close()
    },

    async what_it_refuses_is_not_sent_again() {
        const options = { clientId: 'refusing', clean: false }
        const refusing = { ...options, customHandleAcks: (topic, payload, packet, done) => done(0x97) }
        const properties = { sessionExpiryInterval: LONG }
        const publisher = await Client.open()
        const refused = await Client.subscribed('t', 2, properties, refusing)
        const sent = new Queue()
        refused.mqtt.on('packetsend', (packet) => /^pub(ack|rec)$/.test(packet.cmd) && sent.put(packet))
        for (const qos of [1, 2]) {
            await publisher.publish('t', 'unwanted', { qos })
            assert.equal((await sent.next('a refusal')).reasonCode, 0x97)
        }
        await refused.unsubscribe('nothing')
        assert.equal(refused.received.pubrel, undefined)
        refused.messages.items = []
        await refused.close()
        const back = await Client.open(properties, options)
        assert(back.connack.sessionPresent)
        await back.expectNothing()
        await back.close()
        await publisher.close()
    },

    async the_first_connection_is_told_that_it_is_taken_over() {
        const first = await Client.open({}, { clientId: 'taken' })
        const second = await Client.open({}, { clientId: 'taken' })
        const { reasonCode, properties } = await soon(first.disconnected, 'DISCONNECT')
        assert.equal(reasonCode, 0x8e)
        assert(properties.reasonString)
        await second.close()
    },

    async what_connack_says_is_not_available_is_refused() {
        const client = await Client.open()
        const said = client.connack.properties
        assert.deepEqual([said.maximumQoS, said.retainAvailable], [1, false])
        assert.deepEqual([said.wildcardSubscriptionAvailable, said.sharedSubscriptionAvailable], [false, false])
        assert.equal(said.subscriptionIdentifiersAvailable, false)
        const identifier = { properties: { subscriptionIdentifier: 1 } }
        for (const [filter, options, code] of [['#', {}, 0xa2], ['$share/g/t', {}, 0x9e], ['t', identifier, 0xa1]]) {
            await client.subscribe(filter, { qos: 1, ...options }).catch(() => {})
            assert.deepEqual(client.received.suback.at(-1).granted, [code])
        }
        await client.close()
        for (const [options, code] of [[{ qos: 2 }, 0x9b], [{ retain: true }, 0x9a]]) {
            const client = await Client.open()
            client.mqtt.publish('t', '', options, () => {})
            const { reasonCode, properties } = await soon(client.disconnected, 'DISCONNECT')
            assert.equal(reasonCode, code)
            assert(properties.reasonString)
        }
    },
}

tests[name]().then(
    () => process.exit(0),
    (error) => {
        console.error(error)
        process.exit(1)
    },
)
