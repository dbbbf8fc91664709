// From counters to what happens in a second.

const KEEP_SECONDS = 3600

// What was read each second, the last one last: `time` in milliseconds, and figures by name; null where unknown.
const history = []

let last = null

// What is lost, refused or held back is counted under names that begin so.
const LOSS = /^(dropped|refused|ended|cut|messages_expired|publish_held)/

const QUANTITIES = ['clients_connected', 'sessions', 'queued', 'in_flight', 'memory_used']

const RATES = {
    messages_in: (stats) => stats.publish_received,
    messages_out: (stats) => stats.publish_sent,
    bytes_in: (stats) => stats.bytes_received,
    bytes_out: (stats) => stats.bytes_sent,
    dropped: (stats) => losses(stats, /^dropped/),
    refused: (stats) => losses(stats, /^(refused|ended|cut)/),
    sockets: (stats) => stats.sockets,
    connects: (stats) => stats.connects,
}

function losses(stats, pattern) {
    const names = Object.keys(stats).filter((name) => pattern.test(name))
    return names.reduce((sum, name) => sum + stats[name], 0)
}

// Takes a reading.
function take(reading) {
    const { stats, store } = reading
    const time = Date.parse(reading.time)
    skew = time - Date.now()
    const seconds = last ? (time - last.time) / 1000 : 0
    // A broker that was started anew counts from 0.
    const isSame =
        last &&
        seconds > 0 &&
        stats.sockets >= last.stats.sockets &&
        stats.messages_received >= last.stats.messages_received
    const figures = { time, resident: reading.resident_bytes ?? null }
    for (const part of ['p50', 'p99'])
        figures[`latency_${part}`] = reading.latency_us ? reading.latency_us[part] / 1e6 : null
    for (const name of QUANTITIES) figures[name] = stats[name]
    for (const [name, of] of Object.entries(RATES)) {
        figures[name] = isSame ? Math.max(0, of(stats) - of(last.stats)) / seconds : null
    }
    const counts =
        isSame && store && last.store
            ? store.sync_counts.map((n, place) => n - last.store.sync_counts[place])
            : []
    for (const [name, part] of [
        ['sync_p50', 0.5],
        ['sync_p99', 0.99],
    ]) {
        figures[name] = quantile(counts, store?.sync_bounds_seconds, part)
    }
    figures.byQos = [0, 1, 2].map((qos) =>
        ['received', 'sent'].map((way) => {
            const of = (from) => from[`publish_${way}_by_qos`][qos]
            return [isSame ? Math.max(0, of(stats) - of(last.stats)) / seconds : null, of(stats)]
        }),
    )
    figures.losses = Object.fromEntries(Object.entries(stats).filter(([name, n]) => LOSS.test(name) && n > 0))
    if (last && !isSame) history.length = 0
    last = { time, stats, store }
    history.push(figures)
    if (history.length > KEEP_SECONDS) history.shift()
    return figures
}

// The bound below which that part of the waits stayed; null if there were none.
function quantile(counts, bounds, part) {
    const all = counts.reduce((sum, n) => sum + n, 0)
    if (all <= 0) return null
    let seen = 0
    const place = counts.findIndex((n) => (seen += n) >= all * part)
    return bounds[Math.min(place, bounds.length - 1)]
}

// How much each loss grew in the last minute, by its name.
function recentLosses() {
    const now = history.at(-1)
    const from = history.findLast(({ time }) => time <= now.time - 60_000) ?? history[0]
    const grown = Object.entries(now.losses).map(([name, n]) => [name, n - (from.losses[name] ?? 0)])
    return Object.fromEntries(grown)
}
