// Who is there, those with the most trouble first.

const CLIENTS_EVERY_MS = 2_000

const COLUMNS = [
    ['Client', null],
    ['Queued', 'queued'],
    ['In flight', 'in_flight'],
    ['Lost', 'dropped'],
    ['In /s', 'messages_received'],
    ['Out /s', 'messages_sent'],
    ['Since', 'since'],
    ['', null],
]

const clients = { after: null, shown: new Map(), turn: 0, open: null, kicked: null }

const head = byId('clients-table').tHead.rows[0]
for (const [name, sort] of COLUMNS) {
    const cell = make('th', { scope: 'col', className: sort && sort !== 'since' ? 'n' : '' })
    if (sort) {
        const button = make('button', { type: 'button', title: `Most first: ${name}` }, name)
        button.onclick = () => {
            byId('clients-sort').value = sort
            startClients()
        }
        cell.dataset.sort = sort
        cell.append(button)
    } else cell.append(name)
    head.append(cell)
}

// A row that is written again and again, so that who is on its way to a button in it arrives.
function clientRow(id) {
    const open = make('button', { type: 'button', className: 'name' }, id || '(empty)')
    open.onclick = () => openClient(id)
    const about = make('small')
    const kick = make('button', { type: 'button', className: 'danger' }, 'Disconnect')
    kick.onclick = () => askToKick(id)
    const cells = COLUMNS.map(([name, sort]) => {
        const cell = make('td', { className: sort && sort !== 'since' ? 'n' : '' })
        cell.dataset.name = name
        return cell
    })
    cells[0].append(open, about)
    cells.at(-1).append(kick)
    const element = make('tr', {}, ...cells)
    element.dataset.id = id
    return { element, cells, about, kick, before: null }
}

function writeClient(shown, client, now) {
    const { cells, about, before, kick, element } = shown
    const seconds = before ? (now - before.now) / 1000 : 0
    const rateOf = (name) =>
        before && client.since === before.client.since && seconds > 0.5
            ? Math.max(0, client[name] - before.client[name]) / seconds
            : (before?.rates[name] ?? null)
    const rates = { messages_received: rateOf('messages_received'), messages_sent: rateOf('messages_sent') }
    write(
        about,
        [
            client.connected ? client.address : 'away',
            client.user && `user ${client.user}`,
            client.protocol && `MQTT ${client.protocol}`,
            client.traced && 'traced',
        ]
            .filter(Boolean)
            .join(' · '),
    )
    const figures = [
        client.queued ? `${count(client.queued)} (${size(client.queued_bytes)})` : '0',
        count(client.in_flight),
        count(client.dropped),
        rate(rates.messages_received),
        rate(rates.messages_sent),
        ago(client.since),
    ]
    for (const [n, figure] of figures.entries()) write(cells[n + 1], figure)
    cells[1].classList.toggle('bad', client.queued > 0)
    cells[3].classList.toggle('bad', client.dropped > 0)
    element.classList.toggle('away', !client.connected)
    write(kick, client.connected ? 'Disconnect' : 'End session')
    kick.setAttribute('aria-label', `${kick.textContent} ${client.id}`)
    shown.before = { now, client, rates }
}

async function lookAtClients() {
    const turn = (clients.turn += 1)
    const sort = byId('clients-sort').value
    for (const cell of head.cells) {
        if (cell.dataset.sort)
            cell.setAttribute('aria-sort', cell.dataset.sort === sort ? 'descending' : 'none')
    }
    const asked = {
        limit: 100,
        sort,
        match: byId('clients-match').value,
        state: byId('clients-state').value,
        after: clients.after,
    }
    const page = await askJson(`api/v1/clients?${query(asked)}`)
    if (turn !== clients.turn) return
    const now = performance.now()
    const before = clients.shown
    clients.shown = new Map()
    for (const client of page.clients) {
        const shown = before.get(client.id) ?? clientRow(client.id)
        writeClient(shown, client, now)
        clients.shown.set(client.id, shown)
    }
    fill(
        byId('clients-table').tBodies[0],
        [...clients.shown.values()].map(({ element }) => element),
    )
    byId('clients-table').hidden = page.clients.length === 0
    write(
        byId('clients-count'),
        page.total === 0 ? 'Nobody.' : `${exact.format(page.clients.length)} of ${exact.format(page.total)}`,
    )
    byId('clients-first').hidden = !clients.after
    byId('clients-next').hidden = !page.next
    byId('clients-next').onclick = () => {
        clients.after = page.next
        attempt(lookAtClients)
    }
}

function startClients() {
    clients.after = null
    return attempt(lookAtClients)
}

byId('clients-first').onclick = startClients
byId('clients-bar').onsubmit = (event) => event.preventDefault()
byId('clients-match').oninput = () => {
    clearTimeout(clients.typing)
    clients.typing = setTimeout(startClients, 200)
}
byId('clients-sort').onchange = startClients
byId('clients-state').onchange = startClients

// One client.

function openClient(id) {
    clients.open = id
    write(byId('client-title'), id || '(empty)')
    byId('client-body').replaceChildren()
    byId('client').showModal()
    return attempt(lookAtClient)
}

byId('client').onclose = () => (clients.open = null)

const yes = (is) => (is === null ? '–' : is ? 'yes' : 'no')

async function lookAtClient() {
    const id = clients.open
    const client = await askJson(clientPath(id))
    if (clients.open !== id) return
    const { will } = client
    const facts = {
        State: client.connected ? `connected for ${ago(client.since)}` : `away for ${ago(client.since)}`,
        Address: client.address ?? '–',
        Listener: client.listener ?? '–',
        User: client.user ?? '–',
        Protocol: client.protocol ? `MQTT ${client.protocol}` : '–',
        'Keep alive':
            client.keep_alive_seconds === null
                ? '–'
                : client.keep_alive_seconds
                  ? `${client.keep_alive_seconds} s`
                  : 'off',
        'Clean session': yes(client.clean_session),
        'Session outlives connection':
            client.session_expiry_seconds === null ? 'for ever' : span(client.session_expiry_seconds),
        Queued: `${counted(client.queued, 'message')}, ${size(client.queued_bytes)}`,
        'In flight': exact.format(client.in_flight),
        'Waits to be read': size(client.outbox_bytes),
        Lost: exact.format(client.dropped),
        Received: `${counted(client.messages_received, 'message')}, ${size(client.bytes_received)} in all`,
        Sent: `${counted(client.messages_sent, 'message')}, ${size(client.bytes_sent)} in all`,
        Will: will
            ? `${will.topic}: ${line(payloadText(will))} (QoS ${will.qos}${will.retain ? ', retained' : ''}${will.delay_seconds ? `, after ${span(will.delay_seconds)}` : ''})`
            : 'none',
    }
    const body = byId('client-body')
    if (body.children.length === 0) {
        const kick = make('button', { type: 'button', className: 'danger' })
        kick.onclick = () => askToKick(id)
        body.append(
            make('dl', { className: 'facts' }),
            make('h3'),
            make('table', {}, make('tbody')),
            make('div', { className: 'bar end' }, make('button', { type: 'button' }), kick),
        )
    }
    const [list, title, table, bar] = body.children
    const [trace, kick] = bar.children
    write(kick, client.connected ? 'Disconnect' : 'End session')
    write(trace, client.traced ? 'Stop tracing' : 'Trace to the log')
    trace.onclick = () =>
        attempt(async () => {
            await ask(`${clientPath(id)}/trace`, { method: client.traced ? 'DELETE' : 'PUT' })
            await lookAtClient()
        })
    const terms = Object.entries(facts).flatMap(([name, value], n) => {
        const pair = list.children[2 * n]
            ? [list.children[2 * n], list.children[2 * n + 1]]
            : [make('dt', {}, name), make('dd')]
        write(pair[1], value)
        return pair
    })
    fill(list, terms)
    write(title, `Subscriptions: ${exact.format(client.subscriptions)}`)
    const rows = client.subscription_list.map(
        ({ filter, qos, no_local: noLocal, retain_as_published: asPublished, identifier }) =>
            row(
                text(filter),
                text(`QoS ${qos}`),
                text(
                    [
                        noLocal && 'no local',
                        asPublished && 'retain as published',
                        identifier && `identifier ${identifier}`,
                    ]
                        .filter(Boolean)
                        .join(', '),
                ),
            ),
    )
    table.tBodies[0].replaceChildren(...rows)
}

function askToKick(id) {
    const shown = clients.shown.get(id)
    const isConnected = shown?.before.client.connected ?? true
    clients.kicked = id
    write(byId('kick-title'), isConnected ? 'Disconnect this client?' : 'End this session?')
    write(byId('kick-id'), id)
    write(byId('kick-yes'), isConnected ? 'Disconnect' : 'End session')
    byId('kick-session').checked = !isConnected
    byId('kick-session').disabled = !isConnected
    byId('kick').returnValue = ''
    byId('kick').showModal()
}

byId('kick').onclose = () => {
    if (byId('kick').returnValue !== 'yes') return
    const id = clients.kicked
    const session = byId('kick-session').checked
    attempt(async () => {
        const { disconnected, session_ended: ended } = await askJson(
            `${clientPath(id)}${session ? '?session=true' : ''}`,
            { method: 'DELETE' },
        )
        toast(
            `${id}: ${[disconnected ? 'disconnected' : 'was away', ended && 'session ended'].filter(Boolean).join(', ')}`,
        )
        if (byId('client').open) byId('client').close()
        await lookAtClients()
    })
}

async function keepClients() {
    for (;;) {
        if (!document.hidden && byId('clients-live').checked) {
            if (!byId('view-clients').hidden) await lookAtClients().catch(() => {})
            // It may have gone meanwhile: what was known stays.
            if (clients.open !== null) await lookAtClient().catch(() => {})
        }
        await pause(CLIENTS_EVERY_MS)
    }
}
