/** A page with the button in each of its states, in both looks. Nothing is asked of any server. */
import { createRoot } from 'react-dom/client'
import { Toaster } from 'sonner'
import { SyncNowButton } from '../src/components/sync/SyncNowButton'
import type { SyncApi, SyncStatus } from '../src/types/plant3dSync'

const quiet: SyncStatus = {
  last_sync: new Date(Date.now() - 180_000).toISOString(),
  running: null,
  last: null,
  pending_conflicts: 0,
  health: 'ok',
  console: '#console',
  may_start: true,
}
const going = (status: string, phase: string | null) => ({ sync_id: 'r', status, phase, done: 30, total: 120 })
const states: Record<string, SyncStatus | number | null> = {
  unknown: null,
  age: quiet,
  queued: { ...quiet, running: going('queued', null) },
  running: { ...quiet, running: going('running', 'compare') },
  done: { ...quiet, running: going('running', 'write') },
  'waiting for you': { ...quiet, pending_conflicts: 2 },
  failed: { ...quiet, last: { sync_id: 'r', status: 'failed', error: 'Plant 3D cannot be reached.' } },
  offline: 503,
  hidden: 404,
  'may only look': { ...quiet, may_start: false },
}

function always(name: string, said: SyncStatus | number | null): SyncApi {
  let calls = 0
  const status = () => {
    calls += 1
    if (said === null) return new Promise<never>(() => undefined)
    if (typeof said === 'number') return Promise.reject(Object.assign(new Error(), { response: { status: said } }))
    return Promise.resolve({ data: name === 'done' && calls > 1 ? quiet : said })
  }
  return { status, now: () => Promise.resolve({ data: { run: { sync_id: 'r', status: 'queued' } } }) }
}

const looks = { slate: ['#0f172a', '#e2e8f0'], shell: ['#1e1e1e', '#cccccc'] }

createRoot(document.getElementById('root')!).render(
  <>
    <Toaster richColors position="top-right" />
    {Object.entries(looks).map(([look, [back, fore]]) => (
      <section key={look} data-look={look} style={{ background: back, color: fore, padding: 24, font: '14px sans-serif' }}>
        {Object.entries(states).map(([name, said]) => (
          <p key={name}>
            <span style={{ display: 'inline-block', width: 160 }}>{name}</span>
            <SyncNowButton api={always(name, said)} projectId="p" />
          </p>
        ))}
      </section>
    ))}
  </>,
)
