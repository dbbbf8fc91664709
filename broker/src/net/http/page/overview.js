// How the broker is.

const WORDS = {
    dropped_queue_full: 'Messages lost: the client’s queue was full',
    dropped_outbox_full: 'Messages of QoS 0 lost: the client reads too slowly',
    dropped_too_large: 'Messages lost: larger than the client takes',
    dropped_memory_full: 'Messages lost: memory was short',
    dropped_retained_full: 'Not retained: too many retained messages',
    dropped_retained_memory_full: 'Not retained: memory was short',
    messages_expired: 'Messages expired',
    refused_connections: 'Connections refused: memory was short',
    refused_connections_full: 'Connections refused: too many',
    refused_listener_full: 'Connections refused: too many on one listener',
    refused_proxy: 'Connections closed: no trusted proxy, or not in its protocol',
    refused_address_full: 'Connections refused: too many of one address',
    refused_address_rate: 'Connections refused: one address made them too fast',
    refused_sessions_full: 'Clients refused: too many sessions',
    refused_logins_full: 'Clients refused: too many logins waited',
    refused_acl: 'Messages refused: the ACL file does not allow them',
    refused_topics: 'Messages refused: topic too long or too deep',
    refused_subscriptions: 'Subscriptions refused: memory was short',
    refused_subscriptions_acl: 'Subscriptions refused: the ACL file does not allow them',
    refused_subscriptions_full: 'Subscriptions refused: the client had too many',
    refused_total_subscriptions_full: 'Subscriptions refused: too many in total',
    refused_filters_full: 'Subscriptions refused: too many in one SUBSCRIBE',
    refused_filter_topics: 'Subscriptions refused: filter too long or too deep',
    publish_held: 'Clients made to wait: they published too fast',
    cut_connections: 'Clients disconnected: memory was short',
    ended_packet_too_large: 'Clients disconnected: a packet was too large',
    ended_silent: 'Connections closed: no CONNECT came in time',
    ended_unread: 'Clients disconnected: read nothing for too long',
}

const inWords = (name) => WORDS[name] ?? name[0].toUpperCase() + name.slice(1).replaceAll('_', ' ')

const storeChart = chart(
    'Store: wait for the disk',
    { sync_p50: 'median', sync_p99: '99th percentile' },
    milliseconds,
    0.001,
)
const all = [
    chart('Messages a second', { messages_in: 'in', messages_out: 'out' }, rate, 1),
    chart('Bytes a second', { bytes_in: 'in', bytes_out: 'out' }, size, 1024),
    chart('Clients', { clients_connected: 'connected', sessions: 'sessions' }, count, 5),
    chart('Messages that wait', { queued: 'queued', in_flight: 'in flight' }, count, 5),
    chart('Lost and refused a second', { dropped: 'messages lost', refused: 'refused' }, rate, 1),
    chart('Memory', { memory_used: 'used', resident: 'process' }, size, 1 << 20),
    storeChart,
    chart('Connections and logins a second', { sockets: 'connections', connects: 'logins' }, rate, 5),
    chart(
        'Latency: from read to written',
        { latency_p50: 'median', latency_p99: '99th percentile' },
        milliseconds,
        0.001,
    ),
]
byId('charts').append(...all.map(({ element }) => element))
storeChart.element.hidden = true
byId('window').onchange = drawCharts
addEventListener('resize', drawCharts)

// A row of a table; what is a number stands at the right.
function row(...cells) {
    const made = cells.map(([text, isNumber], n) =>
        n === 0 ? make('th', { scope: 'row' }, text) : make('td', { className: isNumber ? 'n' : '' }, text),
    )
    return make('tr', {}, ...made)
}

const text = (value) => [value, false]
const number = (value) => [value, true]

let status = null

// What changes seldom.
async function lookAtStatus() {
    status = await askJson('api/v1/status').catch(() => status)
    if (!status) return
    const { version, started, threads, listeners, stats } = status
    const facts = [
        `Sol ${version}, up ${ago(started)}`,
        counted(threads, 'thread'),
        counted(stats.subscriptions + stats.shared_subscriptions, 'subscription'),
        counted(stats.retained, 'retained message'),
        `at most ${size(stats.memory_budget)} of memory`,
    ]
    write(byId('facts'), facts.join(', '))
    const rows = listeners.map(({ address, protocol, tls, connections }) =>
        row(text(address), text(`${protocol}${tls ? ' over TLS' : ''}`), number(count(connections))),
    )
    byId('listeners').tBodies[0].replaceChildren(...rows)
}

function showOverview(figures, reading) {
    const recent = recentLosses()
    if (!byId('view-overview').hidden) {
        storeChart.element.hidden = !reading.store
        drawCharts()
        const names = Object.keys(figures.losses).sort(
            (a, b) => recent[b] - recent[a] || figures.losses[b] - figures.losses[a],
        )
        const rows = names.map((name) =>
            row(text(inWords(name)), number(count(recent[name])), number(count(figures.losses[name]))),
        )
        byId('losses').tBodies[0].replaceChildren(...rows)
        byId('losses').hidden = rows.length === 0
        byId('no-losses').hidden = rows.length > 0
        const qos = figures.byQos.map(([received, sent], qos) =>
            row(
                text(String(qos)),
                number(`${rate(received[0])}/s`),
                number(`${rate(sent[0])}/s`),
                number(count(received[1])),
                number(count(sent[1])),
            ),
        )
        byId('qos').tBodies[0].replaceChildren(...qos)
    }
    alertTo(alerts(recent, reading))
    const mark = byId('alerts').children.length ? '⚠ ' : ''
    document.title = `${mark}${rate(figures.messages_in)} in, ${rate(figures.messages_out)} out – Sol`
}

const STAGES = {
    reclaim: 'Memory is getting short: nobody gets more than a fair share.',
    refuse: 'Memory is short: new clients and messages are refused.',
    cut: 'Memory is out: clients are disconnected.',
}

// What somebody should know now.
function alerts(recent, { stats, store }) {
    const said = []
    if (store?.is_failing) said.push(`The store cannot be written: ${store.error ?? 'see the log'}`)
    if (STAGES[stats.memory_stage]) said.push(STAGES[stats.memory_stage])
    // Without figures: what is new each second is read out each second.
    const lost = Object.keys(recent).filter((name) => name.startsWith('dropped') && recent[name] > 0)
    said.push(...lost.map((name) => `${inWords(name)}, in the last minute.`))
    return said
}

function alertTo(said) {
    const items = said.map((text, n) => {
        const item = byId('alerts').children[n] ?? make('li')
        write(item, text)
        return item
    })
    fill(byId('alerts'), items)
}
